"""What a review judges: a change named the way git names it, found in the user's repository.

Nothing is written there. Uncommitted work becomes a commit in the hub alone: files are staged into an index and an object
folder of ours, and what the base commit does not have goes into the hub as a pack.
"""

import re
import shutil
import tempfile
from pathlib import Path

from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.merge import make_commit
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, pipe
from codexteam.core.ids import CommitId, TreeId
from codexteam.core.text import clean_line
from codexteam.errors import RepoError, UsageError
from codexteam.ports.repo import ChangeWanted, FoundChange, Identity

#: Branches that a change is usually made against, where the remote does not say which it is.
_USUAL = ("main", "master", "trunk", "develop")
#: Commit messages that reviewers are shown of a change.
_SUBJECTS = 50
_SECONDS = 600.0
_PLAN = "plan.md"
#: Folders of this name hold a project's configuration and roles.
_CONFIGURATION = ".codex"
_OUR_PLAN = re.compile(rb"<!-- codexteam run ")


def find_change(runner: GitRunner, places: Places, wanted: ChangeWanted) -> FoundChange:
    """Find the change that a command line names.

    Raises:
        UsageError: a revision is not there, or the two sides have nothing in common.
    """
    repository = _Repository(runner, places)
    branch = repository.branch()
    head = repository.commit("HEAD", "HEAD")
    if wanted.audit is not None:
        return _audited(repository, wanted.audit, head, branch)
    if wanted.uncommitted:
        title = f"uncommitted changes on {branch}" if branch else "uncommitted changes"
        configures = repository.configuring(None, None)
        # on another commit it is another change
        subject = f"uncommitted:{branch}:{head}"
        return FoundChange(head, None, subject, title, "uncommitted changes", (), configures=configures)
    if wanted.commit:
        found = repository.commit(wanted.commit, "--commit")
        parents = repository.lines("rev-parse", "--revs-only", f"{found}^@")
        if not parents:
            raise UsageError(
                f"--commit {wanted.commit}: it has no parent to compare it with",
                hint="codexteam audit looks at all that is there; where a shallow clone cut it off: git fetch --unshallow",
            )
        typed = f"commit {found[:12]}"
        return repository.found(CommitId(parents[0]), found, f"commit:{found}", typed, typed)
    if wanted.range:
        return _of_range(repository, wanted.range)
    base = wanted.base or repository.usual_base(branch)
    start = repository.merge_base(repository.commit(base, "--base"), head, f"--base {base}")
    subject = f"base:{base}:{branch}" if branch else ""
    return repository.found(start, head, subject, f"{branch or head[:12]} against {base}", f"what HEAD adds to {base}")


def _audited(repository: "_Repository", paths: tuple[str, ...], head: CommitId, branch: str) -> FoundChange:
    """Return what is there, as a change of nothing.

    Raises:
        UsageError: HEAD holds nothing of that name.
    """
    for path in paths:
        if not repository.lines("rev-parse", "--verify", "--quiet", "--end-of-options", f"{head}:{path}"):
            raise UsageError(
                f"{clean_line(path)}: HEAD holds no such file or folder",
                hint="an audit looks at what is committed; git ls-files shows it",
            )
    shown = ", ".join(map(clean_line, paths)) or "the whole repository"
    where = f" on {branch}" if branch else ""
    subject = f"audit:{branch}:{' '.join(sorted(paths))}" if branch else ""
    return FoundChange(head, head, subject, f"{shown}{where}", f"{shown} as it is", ())


def _of_range(repository: "_Repository", typed: str) -> FoundChange:
    dots = "..." if "..." in typed else ".."
    left, found, right = typed.partition(dots)
    if not found or ".." in right:
        raise UsageError(
            f"RANGE {typed!r}: allowed are A..B, and A...B for what B changed since both had the same commit",
            hint=f"for one commit --commit {typed}, for a branch --base {typed}",
        )
    old, new = (repository.commit(side or "HEAD", f"RANGE {typed}") for side in (left, right))
    if dots == "...":
        old = repository.merge_base(old, new, f"RANGE {typed}")
    # the same words mean the same change only where both ends are names that stay
    ends = [repository.branch_named(side or "HEAD") for side in (left, right)]
    subject = f"range:{ends[0]}{dots}{ends[1]}" if all(ends) else ""
    return repository.found(old, new, subject, typed, typed)


class _Repository:
    """The user's repository, as far as a change is looked for in it."""

    def __init__(self, runner: GitRunner, places: Places) -> None:
        self._runner = runner
        self._places = places

    def lines(self, *arguments: str, tree: bool = False) -> list[str]:
        """Run git, beside the work tree if that is needed, and return its lines; none where it fails."""
        result = self._runner.run(self._call(arguments, tree=tree))
        return result.out.decode("utf-8", "replace").splitlines() if result.ok else []

    def _call(self, arguments: tuple[str, ...], *, tree: bool) -> GitCall:
        return GitCall(
            arguments,
            self._places.git_dir,
            work_tree=self._places.root if tree else None,
            excludes_file=self._places.excludes_file if tree else None,
            deadline=GitDeadline.after(_SECONDS),
        )

    def _paths(self, *arguments: str, tree: bool = False) -> list[str]:
        """Run git and return the paths that it lists: where it fails, nothing is known of the change.

        Raises:
            RepoError: it fails.
        """
        out = self._runner.check(
            self._call((*arguments[:1], "-z", *arguments[1:]), tree=tree), "the files of the change cannot be listed"
        )
        return [path.decode("utf-8", "replace") for path in out.split(b"\0") if path]

    def branch(self) -> str:
        return next(iter(self.lines("symbolic-ref", "--quiet", "--short", "HEAD")), "")

    def commit(self, name: str, flag: str) -> CommitId:
        found = self.lines("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if not found:
            raise UsageError(
                f"{flag}: found {clean_line(name)!r}, which is not a commit here",
                hint="git branch --all and git log show what is there; a shallow clone may lack it",
            )
        return CommitId(found[0])

    def merge_base(self, one: CommitId, other: CommitId, what: str) -> CommitId:
        found = self.lines("merge-base", one, other)
        if not found:
            raise UsageError(
                f"{what}: the two have no commit in common",
                hint="a shallow clone cuts history off: git fetch --unshallow",
            )
        return CommitId(found[0])

    def usual_base(self, branch: str) -> str:
        """Return the branch that this one was most likely made from.

        Raises:
            UsageError: none stands out.
        """
        named = self.lines("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
        for name in (*named, *_USUAL):
            if name != branch and self.lines("rev-parse", "--verify", "--quiet", name):
                return name
        raise UsageError(
            "what is to be reviewed? The branch that this one is made from cannot be told",
            hint="give one of --base BRANCH, --commit SHA, --uncommitted, or a range A..B",
        )

    def branch_named(self, name: str) -> str:
        """Return the full name of the branch that a revision names; empty for any other revision."""
        full = self.lines("rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", name)
        return next((line for line in full if line.startswith(("refs/heads/", "refs/remotes/"))), "")

    def configuring(self, base: CommitId | None, head: CommitId | None) -> tuple[str, ...]:
        """Return the files of a change that configure codexteam; without commits, of what is not committed."""
        if base is not None and head is not None:
            changed = self._paths("diff", "--no-renames", "--no-ext-diff", "--name-only", base, head)
        elif self._places.bare:
            changed = []
        else:
            changed = self._paths("diff", "--no-renames", "--no-ext-diff", "--name-only", "HEAD", tree=True)
            changed += self._paths("ls-files", "--others", "--exclude-standard", tree=True)
        return tuple(clean_line(path) for path in changed if _CONFIGURATION in path.split("/")[:-1])

    def found(self, base: CommitId, head: CommitId, subject: str, title: str, typed: str) -> FoundChange:
        subjects = self.lines(
            "log", "--no-show-signature", f"--max-count={_SUBJECTS}", "--format=%s", f"{base}..{head}"
        )
        sides = [self.lines("rev-parse", "--verify", f"{commit}^{{tree}}") for commit in (base, head)]
        # of a change that is checked out, the checkout's configuration is the change's
        configures = self.configuring(base, head) if head == self.commit("HEAD", "HEAD") else ()
        return FoundChange(
            base, head, subject, title, typed, tuple(subjects), empty=sides[0] == sides[1], configures=configures
        )


def commit_work_tree(hub: Hub, places: Places, base: CommitId, message: str, author: Identity) -> CommitId:
    """Make a commit of the user's files as they are, on `base`, which the hub holds; ignored files stay out.

    Raises:
        RepoError: the repository is bare, or a file cannot be read.
    """
    if places.bare:
        raise RepoError(
            f"{places.root}: a bare repository has no uncommitted changes", hint="Review a commit or a range."
        )
    deadline = GitDeadline.after(_SECONDS)
    with tempfile.TemporaryDirectory(prefix="index-", dir=hub.path) as folder:
        index, objects = Path(folder) / "index", Path(folder) / "objects"
        objects.mkdir()
        known = places.git_dir / "index"
        if known.is_file():
            # with its time: git looks again at files that were written in the second of the index
            shutil.copy2(known, index)
        environment = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(places.common_dir / "objects"),
        }

        def call(*arguments: str) -> bytes:
            return hub.runner.check(
                GitCall(
                    arguments,
                    places.git_dir,
                    work_tree=places.root,
                    environment=environment,
                    excludes_file=places.excludes_file,
                    deadline=deadline,
                ),
                f"{places.root}: its uncommitted changes cannot be read",
            )

        untracked = not call("ls-files", "--", _PLAN)
        call("add", "--all", "--sparse", "--", ".")
        # git's own folder is not part of the tree; a state folder that somebody put among the files would be
        if hub.path.is_relative_to(places.root) and not hub.path.is_relative_to(places.common_dir):
            ours = hub.path.parent.relative_to(places.root)
            call("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", str(ours))
        if untracked and _is_our_plan(places.root / _PLAN):
            call("rm", "--cached", "--quiet", "--ignore-unmatch", "--", _PLAN)
        tree = TreeId(call("write-tree").decode().strip())
        pipe(
            hub.runner,
            GitCall(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                places.git_dir,
                stdin=f"{tree}\n--not\n{base}\n".encode(),
                environment=environment,
                deadline=deadline,
            ),
            GitCall(("index-pack", "--stdin"), hub.path),
            f"{places.root}: its uncommitted changes cannot be taken into the hub",
        )
    return make_commit(hub, tree, (base,), message, author)


def _quoted(path: Path) -> str:
    """Return a path as git reads one of several, which colons part: in quotes, as in C."""
    text = str(path)
    if ":" not in text and not text.startswith('"'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_our_plan(path: Path) -> bool:
    """Return whether a file is the plan of a run, which no change is made of."""
    try:
        return _OUR_PLAN.search(path.read_bytes()[:100_000]) is not None
    except OSError:
        return False
