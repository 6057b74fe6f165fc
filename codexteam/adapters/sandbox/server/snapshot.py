"""Takes the workspace's work out as a pack."""

from __future__ import annotations

import json
import os
import subprocess

from .adding import Adding
from .branches import Branches
from .direct_snapshot import DirectSnapshot
from .files import read_file, write_all, write_file
from .git import EXTRAS, PRIVATE_CONFIG, config_for
from .git_index import INDEX_STATE, without_doubtful
from .ignored import Ignored
from .layer import LaidLayer
from .protocol import CHUNK, RequestRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .git import Git
    from .protocol import Json, Remarks

#: The most remarks on one snapshot.
REMARKS = 200


class Snapshots:
    """The job that packs up all that differs from the base, as one commit on top of it."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self.adding = Adding(git)
        self.ignored = Ignored(git, self.adding, LaidLayer(git))
        self.branches = Branches(git)
        self.direct = DirectSnapshot(git, self.ignored, self.branches)

    def prepare(self) -> None:
        """Read ahead what `take` needs, in the process that it is a child of."""
        self.direct.prepare()

    def take(self, args: Json) -> Json:
        """Send a pack with all that differs from the base, as one commit on top of it."""
        base, cap = args["base"], int(args["max_bytes"])
        for name in (self.git.index + ".lock", self.git.index + ".new"):
            if os.path.exists(name):
                os.unlink(name)
        named = args.get("named", [])
        if args.get("alone"):
            return self.snapshot_alone(base, cap, named)
        return self.direct.take(base, cap, named) or self.take_by_git(base, cap, named)

    def take_by_git(self, base: str, cap: int, named: list[Json]) -> Json:
        """Let git find, store and pack what differs."""
        tree, remarks = self.add_all(base, named)
        remarks += self.branches.elsewhere(base, tree)
        listed = remarks[:REMARKS]
        if tree == self.git.base_tree(base):
            return {"tip": None, "remarks": listed}
        tip = self.git.run("commit-tree", tree, "-p", base, data=b"codexteam snapshot\n").decode().strip()
        argv = ("pack-objects", "--thin", "--revs", "--stdout", "-q")
        sent = self.send_pack(argv, (f"{tip}\n^{base}\n").encode(), cap)
        return {"tip": tip, "bytes": sent, "remarks": listed}

    def add_all(self, base: str, named: list[Json]) -> tuple[str, Remarks]:
        """Write the workspace as it is as a tree; give it, and what is not in it as it is there."""
        if not os.path.exists(self.git.index):
            self.git.run("read-tree", base)
        self.notice_changed_extras()
        self.notice_doubtful()
        taken = self.direct.forget_taken()
        if taken:
            self.adding.add_apart(taken)
        remarks = self.adding.add("-A", "--", ".")
        remarks += self.ignored.add_named(named)
        remarks += self.ignored.left_out()
        tree = self.git.run("write-tree").decode().strip()
        return tree, [*remarks, *self.adding.stored_raw(base, tree)]

    def notice_changed_extras(self) -> None:
        """A tracked file that we put there counts as a change as soon as the agent wrote to it."""
        path = os.path.join(self.git.own_dir, EXTRAS)
        if not os.path.exists(path):
            return
        known = json.loads(read_file(path).decode())["files"]
        changed = []
        for name, (mtime_ns, size) in known.items():
            try:
                state = os.lstat(os.path.join(self.git.workspace, name))
                if [state.st_mtime_ns, state.st_size] != [mtime_ns, size]:
                    changed.append(os.fsencode(name))
            except OSError:
                changed.append(os.fsencode(name))
        if changed:
            self.git.run(
                "update-index", "-z", "--no-skip-worktree", "--stdin", data=b"".join(name + b"\0" for name in changed)
            )

    def notice_doubtful(self) -> None:
        """Let git read what it would take for unchanged by what its index says."""
        began = os.stat(os.path.join(self.git.private, INDEX_STATE)).st_mtime
        data = without_doubtful(read_file(self.git.index), os.fsencode(self.git.workspace), int(began))
        if data is not None:
            written = os.stat(self.git.index)
            write_file(self.git.index + ".new", data)
            # a file that was written as late as the index is still one that git has to read
            os.utime(self.git.index + ".new", ns=(written.st_atime_ns, written.st_mtime_ns))
            os.rename(self.git.index + ".new", self.git.index)

    def snapshot_alone(self, base: str, cap: int, named: list[Json]) -> Json:
        """The git data is broken: send everything there is, in a new repository, without leaning on the base."""
        import shutil

        exclude = os.path.join(self.git.own_dir, "info", "exclude")
        kept = read_file(exclude) if os.path.exists(exclude) else b""
        spare = os.path.join(self.git.private, f"spare-{os.getpid()}")
        shutil.rmtree(spare, ignore_errors=True)
        for name in ("refs/heads", "objects/info", "objects/pack", "info"):
            os.makedirs(os.path.join(spare, name))
        write_file(os.path.join(spare, "HEAD"), b"ref: refs/heads/none\n")
        write_file(os.path.join(spare, "config"), config_for(PRIVATE_CONFIG, base))
        write_file(os.path.join(spare, "info/exclude"), kept)
        before = self.git.own_dir, self.git.index
        self.git.own_dir, self.git.index = spare, os.path.join(spare, "index")
        try:
            self.git.run("read-tree", "--empty")
            tree, remarks = self.add_all(base, named)
            if tree == self.git.base_tree(base):
                return {"tip": None, "remarks": remarks[:REMARKS]}
            who = "codexteam <codexteam@localhost> 1000000000 +0000"
            text = f"tree {tree}\nparent {base}\nauthor {who}\ncommitter {who}\n\ncodexteam snapshot\n"
            argv = ("hash-object", "-t", "commit", "-w", "--stdin", "--literally")
            tip = self.git.run(*argv, data=text.encode()).decode().strip()
            listed = self.git.run("ls-tree", "-r", "-t", "-z", tree).split(b"\0")
            ids = [line.split(b" ", 3)[2].split(b"\t")[0] for line in listed if line and not line.startswith(b"160000")]
            names = b"\n".join([tip.encode(), tree.encode(), *sorted(set(ids))]) + b"\n"
            sent = self.send_pack(("pack-objects", "--stdout", "-q"), names, cap)
        finally:
            self.git.own_dir, self.git.index = before
            shutil.rmtree(spare, ignore_errors=True)
        return {"tip": tip, "bytes": sent, "remarks": remarks[:REMARKS]}

    def send_pack(self, argv: tuple[str, ...], names: bytes, cap: int) -> int:
        listing = os.path.join(self.git.private, f"names-{os.getpid()}")
        write_file(listing, names)
        sent = 0
        with open(listing, "rb") as file, open(os.path.join(self.git.private, "said"), "w+b") as said:
            os.unlink(listing)
            with subprocess.Popen(
                ("git", *argv),
                env=self.git.environment(own=True),
                cwd=self.git.workspace,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=said,
            ) as process:
                assert process.stdout is not None
                while True:
                    data = process.stdout.read(CHUNK)
                    if not data:
                        break
                    sent += len(data)
                    if sent > cap:
                        process.kill()
                        raise RequestRefused("value", f"the work is larger than the {cap} bytes allowed")
                    write_all(1, data)
            if process.returncode:
                said.seek(0)
                text = said.read().decode("utf-8", "replace").strip()[-2000:]
                raise RequestRefused("git", f"git pack-objects ended with {process.returncode}: {text}")
        return sent
