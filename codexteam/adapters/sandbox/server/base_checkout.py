"""Puts the workspace in place before the agent's first command, while everything in it is still ours."""

from __future__ import annotations

import json
import os
import re

from .files import extract_tar, read_file, write_file
from .folder_marks import FOLDERS, mark_folders, write_marks
from .git import AGENT_CONFIG, EXTRAS, LAYER, PRIVATE_CONFIG, config_for
from .git_index import INDEX_STATE, has_states, index_names, index_state, record_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Git
    from .protocol import Json


#: In the server's own folder, until a checkout is sealed: the times of files that are as a set-up had them.
TIMES = "layer-times.json"
#: In the server's own folder: an index of the agent's that git wrote in this very checkout.
OWN_INDEX = "own-index.json"


class BaseCheckout:
    """The jobs that make a workspace, in the order in which they are asked for."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def root(self, args: Json) -> Json:
        """Unpack the `.git` that comes in, and check the root commit out."""
        extract_tar(0, self.git.workspace, only=".git")
        write_file(os.path.join(self.git.agent_dir, "config"), config_for(AGENT_CONFIG, args["commit"]))
        for name in ("refs/heads", "info", "objects/info"):
            os.makedirs(os.path.join(self.git.agent_dir, name), exist_ok=True)
        return self.show(args["commit"])

    def extra(self, _args: Json) -> Json:
        """Put in the files that git does not track or keeps elsewhere; they are not taken as changes."""
        names = extract_tar(0, self.git.workspace, only=None)
        tracked = set(self.git.run("ls-files", "-z", own=False).split(b"\0"))
        ours = [os.fsencode(name) for name in names]
        kept = [name for name in ours if name in tracked]
        links = set()
        for entry in self.git.run("ls-files", "-s", "-z", own=False).split(b"\0"):
            if entry.startswith(b"160000 "):
                links.add(entry.split(b"\t", 1)[1])
        patterns = [b"/" + escape_pattern(name) for name in ours if name not in tracked]
        patterns += [b"/" + escape_pattern(name) + b"/" for name in sorted(links)]
        with open(os.path.join(self.git.agent_dir, "info", "exclude"), "ab") as file:
            file.write(b"".join(pattern + b"\n" for pattern in patterns))
        files = self.states(os.fsdecode(name) for name in kept)
        ignored = self.states(name for name in names if os.fsencode(name) not in tracked)
        extras = {"files": files, "links": [os.fsdecode(name) for name in sorted(links)], "ignored": ignored}
        write_file(os.path.join(self.git.agent_dir, EXTRAS), json.dumps(extras).encode())
        self.leave_alone(extras)
        return {"files": len(names)}

    def seal(self, args: Json) -> Json:
        """Give every file of a base one old time, and say in the index what is true of it: none is read again to compare.

        Files of which an environment was built keep the time that they had then: what was built of them is newer. Folders
        get the same time, each with a nanosecond of its own (see `folder_marks`).
        """
        then, times = int(args["mtime_seconds"]), self.times_of_layer()
        if times is not None:
            then = max(then, int(times["after_seconds"]))
        kept = {os.fsencode(text): mtime for text, mtime in times["files"].items()} if times is not None else {}
        path = os.path.join(self.git.agent_dir, "index")
        data = read_file(path)
        names = index_names(data)
        root = os.fsencode(self.git.workspace)
        for name in names:
            full, mtime = os.path.join(root, name), kept.get(name, then)
            if os.path.lexists(full):
                os.utime(full, (mtime, mtime), follow_symlinks=False)
        write_file(path, record_states(data, root))
        write_marks(os.path.join(self.git.agent_dir, FOLDERS), mark_folders(root, names, then))
        extras = os.path.join(self.git.agent_dir, EXTRAS)
        if os.path.exists(extras):
            known = json.loads(read_file(extras).decode())
            fresh = dict(known, files=self.states(known["files"]), ignored=self.states(known.get("ignored", ())))
            write_file(extras, json.dumps(fresh).encode())
        return {"files": len(names)}

    def times_of_layer(self) -> Json | None:
        path = os.path.join(self.git.private, TIMES)
        return json.loads(read_file(path).decode()) if os.path.exists(path) else None

    def delta(self, args: Json) -> Json:
        """Take in a pack on top of the root commit, and check another commit out."""
        self.git.feed("index-pack", "--stdin", "--fix-thin", own=False)
        self.own_states()
        self.show(args["commit"])
        extras = os.path.join(self.git.agent_dir, EXTRAS)
        if os.path.exists(extras):
            self.leave_alone(json.loads(read_file(extras).decode()))
        # git wrote it from what lies here: `begin` need not compare it once more
        self.note_state(os.path.join(self.git.agent_dir, "index"), OWN_INDEX)
        return {}

    def begin(self, args: Json) -> Json:
        """Make the git folder of our own. The last step before the agent's first command."""
        if os.path.exists(self.git.own_dir):
            return {}
        temporary = self.git.own_dir + ".new"
        if os.path.exists(temporary):
            import shutil

            shutil.rmtree(temporary, ignore_errors=True)
        for name in ("refs/heads", "objects/info", "objects/pack", "info"):
            os.makedirs(os.path.join(temporary, name))
        write_file(os.path.join(temporary, "HEAD"), b"ref: refs/heads/none\n")
        write_file(os.path.join(temporary, "config"), config_for(PRIVATE_CONFIG, args["commit"]))
        for name in ("shallow", "info/exclude", EXTRAS, LAYER, FOLDERS):
            if os.path.exists(os.path.join(self.git.agent_dir, name)):
                write_file(os.path.join(temporary, name), read_file(os.path.join(self.git.agent_dir, name)))
        write_file(os.path.join(temporary, "objects/info/alternates"), self.adopt_packs(temporary))
        write_file(self.git.index, self.own_states())
        written = os.stat(os.path.join(self.git.agent_dir, "index"))
        os.utime(self.git.index, ns=(written.st_atime_ns, written.st_mtime_ns))
        self.note_state(self.git.index, INDEX_STATE)
        os.rename(temporary, self.git.own_dir)
        argv = ("rev-parse", "--verify", "--end-of-options", args["commit"] + "^{tree}")
        tree = args.get("tree") or self.git.run(*argv).decode().strip()
        write_file(os.path.join(self.git.private, "base.json"), json.dumps({"tree": tree}).encode())
        return {"tree": tree}

    def own_states(self) -> bytes:
        """Let the agent's index speak of the files that are here, also where these are copies; return it."""
        path, root = os.path.join(self.git.agent_dir, "index"), os.fsencode(self.git.workspace)
        data = read_file(path)
        noted = os.path.join(self.git.private, OWN_INDEX)
        if os.path.exists(noted) and json.loads(read_file(noted).decode()) == index_state(path):
            return data
        if not has_states(data, root):
            data = record_states(data, root)
            write_file(path, data)
        return data

    def note_state(self, index: str, name: str) -> None:
        """Keep in the server's own folder what an index is now."""
        write_file(os.path.join(self.git.private, name), json.dumps(index_state(index)).encode())

    def restore(self, args: Json) -> Json:
        """Take a snapshot's pack in, and make the files what they were."""
        self.git.feed("index-pack", "--stdin", "--fix-thin", own=True)
        self.git.run("read-tree", "--reset", "-u", args["tip"])
        return {}

    def show(self, commit: str) -> Json:
        write_file(os.path.join(self.git.agent_dir, "HEAD"), b"ref: refs/heads/work\n")
        self.git.run("update-ref", "--no-deref", "refs/heads/work", commit, own=False)
        self.git.run("read-tree", "--reset", "-u", commit, own=False)
        return {}

    def states(self, names: Iterable[str]) -> Json:
        """Return what shows whether a file was written to: its time and size."""
        found = {}
        for name in names:
            state = os.lstat(os.path.join(self.git.workspace, name))
            found[name] = [state.st_mtime_ns, state.st_size]
        return found

    def leave_alone(self, extras: Json) -> None:
        """Make git ignore our substitutes for tracked files and submodules."""
        tracked = set(self.git.run("ls-files", "-z", own=False).split(b"\0"))
        names = [os.fsencode(name) for name in list(extras["files"]) + extras["links"]]
        data = b"".join(name + b"\0" for name in names if name in tracked)
        self.git.run("update-index", "-z", "--skip-worktree", "--stdin", own=False, data=data)

    def adopt_packs(self, own: str) -> bytes:
        """Take over the objects: by a read-only base where there is one, else by links, else by reference."""
        alternates = []
        known: set[str] = set()
        if self.git.base_git:
            alternates.append(os.path.join(self.git.base_git, "objects"))
            known = set(os.listdir(os.path.join(self.git.base_git, "objects", "pack")))
        packs = os.path.join(self.git.agent_dir, "objects", "pack")
        for name in sorted(os.listdir(packs)):
            if name in known:
                continue
            source, target = os.path.join(packs, name), os.path.join(own, "objects", "pack", name)
            try:
                os.link(source, target)
            except OSError:
                if os.path.getsize(source) > 64 << 20:
                    alternates.append(os.path.join(self.git.agent_dir, "objects"))
                    break
                import shutil

                shutil.copyfile(source, target)
        return "".join(line + "\n" for line in alternates).encode()


def escape_pattern(name: bytes) -> bytes:
    """Return a line of an exclude file that means this one path."""
    escaped = re.sub(rb"([\\*?\[\]!#])", rb"\\\1", name)
    # a line cannot hold these: what stands for any one character does
    escaped = escaped.replace(b"\n", b"?").replace(b"\r", b"?")
    return escaped[:-1] + b"\\ " if escaped.endswith(b" ") else escaped
