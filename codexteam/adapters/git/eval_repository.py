"""Repositories of an evaluation: one for agents, with the base commit and its ancestors alone; one for grading.

Both are bare. Objects go from `pack-objects` into `index-pack`, as into the hub, so that nothing comes along that the base
does not reach: no tag, no later branch, no remote, no reflog. Trees are made with an index of their own, so that no path of
a suite is ever a path of this machine.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from codexteam.adapters.git.fetch import pack_request
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, find_git, pipe
from codexteam.core.eval_task import StartCommit, StartFiles
from codexteam.core.ids import CommitId
from codexteam.core.mining import HistoryCommit
from codexteam.core.text import clean_line
from codexteam.errors import RepoError

_SECONDS = 1800.0
_HEAD = "refs/heads/main"
#: The branch that a bundle has.
_BUNDLED = "refs/heads/base"
#: Who commits what an evaluation puts in place, and when: the same files are the same commit.
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "codexteam eval"), ("EMAIL", "eval@codexteam.invalid"), ("DATE", "946684800 +0000"))
}
#: Git refuses to clone or pack from a bundle by its own means here, so its pack is read behind this header's end.
_BUNDLE = (b"# v2 git bundle\n", b"# v3 git bundle\n")


class EvalRepository:
    """One bare repository of an evaluation."""

    def __init__(self, folder: Path, search_path: str | None) -> None:
        """Take where it is, or will be."""
        self.folder = folder
        self._git = GitRunner(find_git(search_path), folder.parent)

    def make(self) -> None:
        """Make it, empty; one that is there stays as it is."""
        if not (self.folder / "HEAD").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check("init", "--quiet", "--bare", "--template=", f"--initial-branch={_HEAD.rpartition('/')[2]}")

    def take_start(self, start: StartCommit | StartFiles) -> CommitId:
        """Bring the start of a task in, and nothing else; return its commit.

        Raises:
            RepoError: it is not there.
        """
        if isinstance(start, StartFiles):
            return self.commit(None, start.files, executable=start.executable, message="The start of the task")
        source = Path(start.repository)
        if source.is_file():
            self._take_bundle(source)
            return self._commit_id(start.commit)
        return self.take_commit(source, start.commit)

    def take_commit(self, repository: Path, commit: str) -> CommitId:
        """Bring a commit of another repository in, with its ancestors.

        Raises:
            RepoError: it is not there, or the repository lacks a part of its history.
        """
        git_dir = repository / ".git" if (repository / ".git").exists() else repository
        what = f"{repository}: commit {commit[:12]} cannot be taken from it"
        found = self._git.check(GitCall(("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"), git_dir), what)
        wanted = found.decode().strip()
        shallow = git_dir / "shallow"
        cut = shallow.read_text().split() if shallow.is_file() else []
        pipe(
            self._git,
            GitCall(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                git_dir,
                stdin=pack_request([wanted], [], cut),
                deadline=GitDeadline.after(_SECONDS),
            ),
            GitCall(("index-pack", "--stdin"), self.folder),
            what,
        )
        if cut:
            (self.folder / "shallow").write_text("".join(f"{one}\n" for one in cut))
        return CommitId(wanted)

    def _take_bundle(self, bundle: Path) -> None:
        with bundle.open("rb") as file:
            if file.readline() not in _BUNDLE:
                raise RepoError(f"{bundle}: not a bundle of git's")
            while file.readline() not in {b"\n", b""}:
                pass
            data = file.read()
        self._git.check(GitCall(("index-pack", "--stdin"), self.folder, stdin=data), f"{bundle}: it cannot be read")

    def commit(
        self,
        parent: CommitId | None,
        files: Mapping[str, bytes],
        *,
        message: str,
        executable: Collection[str] = (),
        removed: Collection[str] = (),
    ) -> CommitId:
        """Make a commit of a parent's files with others in their place; the same arguments give the same commit.

        Raises:
            RepoError: a path is one that git takes into no tree.
        """
        lines = [b"0 %s\t%s\0" % (b"0" * 40, path.encode("utf-8", "surrogateescape")) for path in removed]
        for path, data in files.items():
            blob = self._check("hash-object", "-w", "--stdin", stdin=data).strip()
            mode = b"100755" if path in executable else self._mode(parent, path)
            lines.append(b"%s %s\t%s\0" % (mode, blob, path.encode("utf-8", "surrogateescape")))
        made = self._commit_of(parent, message, ("update-index", "-z", "--index-info"), b"".join(lines))
        if refused := files.keys() - set(self.paths(made)):  # git passes over them
            raise RepoError(f"{clean_line(min(refused))}: git takes no such path into a tree", hint="rename the file")
        return made

    def commit_patch(self, parent: CommitId, patch: str, *, message: str) -> CommitId:
        """Make a commit of a parent with a patch.

        Raises:
            RepoError: it does not apply.
        """
        data = patch.encode("utf-8", "surrogateescape")
        return self._commit_of(parent, message, ("apply", "--cached", "--whitespace=nowarn", "-"), data)

    def _commit_of(self, parent: CommitId | None, message: str, change: tuple[str, ...], stdin: bytes) -> CommitId:
        index = self.folder / "eval-index"
        environment = {"GIT_INDEX_FILE": str(index), **_IDENTITY}
        index.unlink(missing_ok=True)
        if parent is not None:
            self._check("read-tree", parent, environment=environment)
        self._check(*change, stdin=stdin, environment=environment)
        tree = self._check("write-tree", environment=environment).decode().strip()
        parents = () if parent is None else ("-p", parent)
        made = self._check("commit-tree", tree, *parents, "-m", message, environment=environment)
        return CommitId(made.decode().strip())

    def is_executable(self, commit: CommitId, path: str) -> bool:
        """Return whether a file of a commit may be run."""
        return self._mode(commit, path) == b"100755"

    def _mode(self, commit: CommitId | None, path: str) -> bytes:
        """Return the mode that a file has at a commit; a plain file's where it is none."""
        if commit is None:
            return b"100644"
        listed = self._check("ls-tree", "-z", commit, "--", path)
        return b"100755" if listed.startswith(b"100755 ") else b"100644"

    def changed(self, old: CommitId, new: CommitId) -> tuple[dict[str, bytes], frozenset[str]]:
        """Return the files that a commit has in place of another's, and those that it lacks."""
        listed = self._check("diff-tree", "-r", "-z", "--no-renames", "--name-status", old, new).split(b"\0")
        files: dict[str, bytes] = {}
        removed: set[str] = set()
        for status, raw in zip(listed[::2], listed[1::2], strict=False):
            path = os.fsdecode(raw)
            if status == b"D":
                removed.add(path)
            else:
                files[path] = self.read(new, path)
        return files, frozenset(removed)

    def read(self, commit: CommitId, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            RepoError: it is not there.
        """
        return self._check("cat-file", "blob", f"{commit}:{path}")

    def paths(self, commit: CommitId) -> list[str]:
        """Return the paths of all files at a commit."""
        return [
            os.fsdecode(path) for path in self._check("ls-tree", "-r", "-z", "--name-only", commit).split(b"\0")[:-1]
        ]

    def changed_paths(self, old: CommitId, new: CommitId) -> list[str]:
        """Return the paths of files that differ."""
        listed = self._check("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new)
        return [os.fsdecode(path) for path in listed.split(b"\0")[:-1]]

    def first_parent_history(self, commit: CommitId) -> list[HistoryCommit]:
        """Return a commit and its first parents, the newest first, without the root."""
        form = "%H%x1f%P%x1f%ct%x1f%B"
        listed = self._check("log", "--first-parent", "-z", f"--format={form}", commit).decode("utf-8", "replace")
        found = []
        for entry in filter(None, listed.split("\0")):
            name, parents, at, message = entry.split("\x1f", 3)
            if parents:
                found.append(HistoryCommit(name, parents.split()[0], float(at), message))
        return found

    def patch(self, old: CommitId, new: CommitId, paths: Collection[str]) -> str:
        """Return what a commit changed in some files, as a patch."""
        flags = ("diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
        return os.fsdecode(self._check(*flags, old, new, "--", *paths))

    def write_bundle(self, file: Path, commit: CommitId) -> None:
        """Write a commit and its ancestors, and nothing else, into a file."""
        self._check("update-ref", _BUNDLED, commit)
        self._check("bundle", "create", "--quiet", str(file), _BUNDLED)

    def point_head(self, commit: CommitId) -> None:
        """Let the only branch be at a commit."""
        self._check("update-ref", _HEAD, commit)

    def _commit_id(self, name: str) -> CommitId:
        return CommitId(self._check("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip())

    def _check(self, *args: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        call = GitCall(args, self.folder, stdin=stdin, environment=environment or {})
        return self._git.check(call, f"{self.folder}: the repository of the evaluation")
