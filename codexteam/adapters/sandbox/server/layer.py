"""The layer of an environment: what a set-up wrote in its checkout and git does not track.

`take` puts it aside at the end of a set-up, `lay` lays it into the checkout that workspaces are laid over. It is there
in every workspace and in no snapshot: `info/exclude` names what git would show, and what a task's paths name is taken
only once it differs from what was laid.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

from .base_checkout import TIMES, escape_pattern
from .files import read_file, write_file
from .git import CACHES, EXTRAS, LAYER
from .protocol import RequestRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .git import Git
    from .protocol import Json

#: In the folder of a layer: the files, and what is known of them.
FILES, ABOUT = "files", "about.json"
#: Of a folder that git shows with more files than this the folder itself is excluded.
MOST_EXCLUDED = 200
#: For each call of `cp`.
MOST_ARGUMENTS = 500


class SetupLayer:
    """The jobs at both ends of a layer's way."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def take(self, args: Json) -> Json:
        """Move what git does not track from the workspace into the folder `target`, and write down what it is.

        What was copied in for the user is left where it is: the next checkout gets it from the user again.
        """
        target = args["target"]
        import shutil

        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(os.path.join(target, FILES))
        self.remove_extras()
        names = [name for name in self.listed("-o", "--directory") if not is_cache(name)]
        about = {
            "names": [os.fsdecode(name) for name in names],
            "excluded": [os.fsdecode(name) for name in self.shown(names)],
            "tracked": self.tracked(),
            "made_at_seconds": int(time.time()),
        }
        for name in names:
            source = os.path.join(os.fsencode(self.git.workspace), name.rstrip(b"/"))
            place = os.path.join(os.fsencode(target), FILES.encode(), name.rstrip(b"/"))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            try:
                os.rename(source, place)
            except OSError:  # another file system
                copy([source], os.path.dirname(place))
        write_file(os.path.join(target, ABOUT), json.dumps(about).encode())
        return {"names": len(names)}

    def lay(self, args: Json) -> Json:
        """Copy the layer in the folder `source` into a checkout of whatever commit: what that tracks is left as it is."""
        source = args["source"]
        about = json.loads(read_file(os.path.join(source, ABOUT)).decode())
        entries = self.index_entries()
        if args.get("copy", True):
            pairs: dict[bytes, list[bytes]] = {}
            for text in about["names"]:
                self.plan_copy(os.fsencode(source), os.fsencode(text.rstrip("/")), pairs)
            for folder, files in pairs.items():
                copy(files, folder)
        shown = [os.fsencode(text) for text in about["excluded"]]
        patterns = [b"/" + escape_pattern(name) + b"\n" for name in shown if name not in entries]
        with open(os.path.join(self.git.agent_dir, "info", "exclude"), "ab") as file:
            file.write(b"".join(patterns))
        write_file(os.path.join(self.git.agent_dir, LAYER), json.dumps({"names": about["names"]}).encode())
        times = {
            text: int(mtime)
            for text, (blob, mtime) in about["tracked"].items()
            if entries.get(os.fsencode(text)) == blob.encode()
        }
        # what was not there in the set-up counts as written after it, or builds would take old results for new ones
        known = {"files": times, "after_seconds": about["made_at_seconds"]}
        write_file(os.path.join(self.git.private, TIMES), json.dumps(known).encode())
        return {"names": len(about["names"])}

    def plan_copy(self, source: bytes, name: bytes, pairs: dict[bytes, list[bytes]]) -> None:
        """Add what has to be copied for one entry, by the folder that it goes into; a folder that is there is merged."""
        root = os.fsencode(self.git.workspace)
        found = os.path.join(source, FILES.encode(), name)
        place = os.path.join(root, name)
        if not os.path.lexists(found) or not make_folders(root, os.path.dirname(name)):
            return
        if not os.path.lexists(place):
            pairs.setdefault(os.path.dirname(place), []).append(found)
        elif all(os.path.isdir(each) and not os.path.islink(each) for each in (found, place)):
            for entry in sorted(os.listdir(found)):
                self.plan_copy(source, os.path.join(name, entry), pairs)

    def remove_extras(self) -> None:
        path = os.path.join(self.git.own_dir, EXTRAS)
        known = json.loads(read_file(path).decode()) if os.path.exists(path) else {}
        for name in known.get("ignored", ()):
            full = os.path.join(self.git.workspace, name)
            if os.path.isfile(full) or os.path.islink(full):
                os.unlink(full)

    def listed(self, *argv: str) -> list[bytes]:
        return [name for name in self.git.run("ls-files", "-z", *argv).split(b"\0") if name]

    def shown(self, names: list[bytes]) -> list[bytes]:
        """Return what of these git would show as new: files, and folders that hold too many of them."""
        files = self.listed("-o", "--exclude-standard")
        found: list[bytes] = []
        for folder in [name for name in names if name.endswith(b"/")]:
            below = [name for name in files if name.startswith(folder)]
            found += below if len(below) <= MOST_EXCLUDED else [folder]
        alone = {name for name in names if not name.endswith(b"/")}
        return found + [name for name in files if name in alone]

    def index_entries(self) -> dict[bytes, bytes]:
        """Return the blob of each tracked file of the agent's index."""
        found = {}
        for entry in self.git.run("ls-files", "-s", "-z", own=False).split(b"\0"):
            if entry:
                facts, _, name = entry.partition(b"\t")
                found[name] = facts.split(b" ")[1]
        return found

    def tracked(self) -> Json:
        """Return blob and time of each tracked file that the set-up left as it was."""
        changed = set(self.git.run("diff-files", "--name-only", "-z").split(b"\0"))
        found = {}
        for entry in self.git.run("ls-files", "-s", "-z").split(b"\0"):
            facts, _, name = entry.partition(b"\t")
            if not name or name in changed:
                continue
            try:
                mtime = os.lstat(os.path.join(os.fsencode(self.git.workspace), name)).st_mtime
            except OSError:
                continue
            found[os.fsdecode(name)] = [facts.split(b" ")[1].decode(), int(mtime)]
        return found


class LaidLayer:
    """The layer beneath a workspace, as its snapshots see it."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self.known: list[str] | None = None

    @property
    def names(self) -> list[str]:
        if self.known is None:
            path = os.path.join(self.git.own_dir, LAYER)
            found = json.loads(read_file(path).decode())["names"] if os.path.exists(path) else []
            self.known = [name.rstrip("/") for name in found]
        return self.known

    def has(self, name: str) -> bool:
        """Whether a path is the layer's, or lies in it."""
        return any(name == each or name.startswith(each + "/") for each in self.names)

    def meets(self, prefix: str) -> bool:
        """Whether something of the layer lies at, below or above a path."""
        return not prefix or self.has(prefix) or any(each.startswith(prefix + "/") for each in self.names)

    def is_as_laid(self, name: str) -> bool:
        """Whether a file is the layer's and nobody wrote to it since.

        No command can set the time of an inode's last change, and who writes to a file of a lower layer gets a new inode.
        """
        if not self.has(name):
            return False
        try:
            state = os.lstat(os.path.join(self.git.workspace, name))
        except OSError:
            return False
        return state.st_ctime_ns <= os.stat(os.path.join(self.git.own_dir, LAYER)).st_ctime_ns

    def take_out(self) -> None:
        """Take from the server's own index what was only laid there: nobody's work."""
        specs = [":(literal)" + name for name in self.names]
        listed = self.git.run("ls-files", "-z", "--", *specs).split(b"\0")[:-1] if specs else []
        laid = [name for name in listed if self.is_as_laid(os.fsdecode(name))]
        if laid:
            self.git.run(
                "update-index", "--force-remove", "-z", "--stdin", data=b"".join(name + b"\0" for name in laid)
            )


def is_cache(name: bytes) -> bool:
    """Whether it is what tools leave wherever they run: not worth a folder of its own beneath that of the checkout."""
    return os.fsdecode(os.path.basename(name.rstrip(b"/"))) in CACHES


def make_folders(root: bytes, name: bytes) -> bool:
    """Make a folder below `root`; False where a part of its path is something else."""
    place = root
    for part in name.split(b"/") if name else []:
        place = os.path.join(place, part)
        if not os.path.lexists(place):
            os.mkdir(place)
        elif os.path.islink(place) or not os.path.isdir(place):
            return False
    return True


def copy(sources: list[bytes], folder: bytes) -> None:
    """Copy files and folders into a folder, links among them kept."""
    for start in range(0, len(sources), MOST_ARGUMENTS):
        argv = [b"cp", b"-a", b"--", *sources[start : start + MOST_ARGUMENTS], folder]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise RequestRefused("value", f"the environment's files cannot be copied: {said}")
