"""What was done to the files that decide what the gate commands do, and the tree on which these run: the base's of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from posixpath import basename, dirname, normpath

from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, GateName
from codexteam.core.paths import decode, matches_any, names_exactly, show
from codexteam.core.state import FindingStatus, RunState, TaskState
from codexteam.core.text import clean_line
from codexteam.ports.repo import TreeChange
from codexteam.run.context import RunContext
from codexteam.run.gates.cases import cases_of, is_fixture
from codexteam.run.gates.gate_files import (
    families_in,
    has_plugins,
    has_steps,
    included_in,
    is_harmless,
    is_script,
    loaded_by,
    named_in,
    names_setup,
    plugins_in,
    resolve,
    stands_in_for,
)

_LINK = "120000"
_FILE_BYTES = 1 << 20
#: Scripts that are followed from a gate command to what they name; more are a build system that no reader follows either.
_MOST_STEPS = 200
#: Families whose files are none of our business unless a gate command leads to them: their names are common ones.
_QUIET = frozenset({"task", "other"})


@dataclass(frozen=True, slots=True)
class GateFileChange:
    """A changed file that decides what gate commands do."""

    change: TreeChange
    why: str
    """What reads it, in words."""
    is_read: bool
    """A tool that the gate commands call reads it; else one that they are not known to call."""
    asked: bool
    """A task of the plan names it, or a person let it pass."""

    @property
    def path(self) -> str:
        """Return its path as text."""
        return decode(self.change.path)


@dataclass(frozen=True, slots=True)
class _Checks:
    """What the gate commands run and load on one side: paths to reasons."""

    named: dict[str, str]
    families: frozenset[str]


async def gate_file_changes(
    context: RunContext, commands: Sequence[str], commit: CommitId, state: RunState
) -> list[GateFileChange]:
    """Return the changes since the base commit to files that decide what the gate commands do."""
    if state.base is None:
        return []
    changes = await context.repo.changes(state.base, commit)
    if not changes:
        return []
    sides = [await _checks_of(context, commands, at) for at in (state.base, commit)]
    families = sides[0].families
    found = []
    for change in changes:
        path = decode(change.path)
        reason = next((side.named[path] for side in sides if path in side.named), "")
        family = loaded_by(path)
        module = stands_in_for(path) if change.status == "A" else None
        if reason and family is None and await _holds_tests(context, state.base, commit, path):
            reason = ""  # a test is judged as a test
        if not reason and module:
            family = "python"
            reason = f"it stands in for the module {module} when a test runner imports that"
        elif not reason and family:
            reason = f"{family} tools load it" if family != "ci" else "CI or a package manager reads it"
        if not reason:
            continue
        is_read = family is None or family == "ci" or family in families or path in sides[0].named | sides[1].named
        if (not is_read and family in _QUIET) or _moved_along(change, changes):
            continue
        if family and await _is_harmless(context, state.base, commit, change):
            continue
        found.append(GateFileChange(change, reason, is_read, _was_asked(path, state)))
    return found


async def _holds_tests(context: RunContext, base: CommitId, commit: CommitId, path: str) -> bool:
    if not is_test_file(path) or is_fixture(path):
        return False
    return bool(cases_of(await _text(context, base, path) or await _text(context, commit, path), path))


async def _checks_of(context: RunContext, commands: Sequence[str], commit: CommitId) -> _Checks:
    """Follow the gate commands to the files that they name, and from scripts and makefiles to the scripts these name."""
    modes = {decode(path): mode for path, mode, _ in await context.repo.list_files(commit)}
    links = {path: await _text(context, commit, path) for path, mode in modes.items() if mode == _LINK}
    trail = _Trail(modes, {path: target for path, target in links.items() if target})
    trail.begin(commands)
    texts = list(commands)
    for path in islice(trail, _MOST_STEPS):
        text = await _text(context, commit, path)
        if path in trail.named or has_steps(path):
            texts.append(text)
        trail.follow(path, text)
    return _Checks(trail.named, families_in(texts))


@dataclass(slots=True)
class _Trail:
    """The way from gate commands to the files that they lead to; iterating gives each file that is to be read, once."""

    modes: Mapping[str, str]
    links: Mapping[str, str]
    named: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        while self.waiting:
            yield self.waiting.pop(0)

    def begin(self, commands: Sequence[str]) -> None:
        """Note what commands name, and what runners load by itself and may name more."""
        for command in commands:
            for path in named_in(command):
                self._note(path, f"the gate command `{clean_line(command)}` names it", any_file=True)
        for path in filter(loaded_by, self.modes):
            if path in self.links:
                self._note(path, f"{clean_line(path)} leads to it", any_file=True)
            elif path not in self.named and (has_steps(path) or has_plugins(path) or names_setup(path)):
                self.waiting.append(path)

    def follow(self, path: str, text: str) -> None:
        """Note what a file names that decides on gates itself."""
        reason = f"{clean_line(path)}, which decides what the gates do, names it"
        for other in named_in(text, folder=dirname(path)):
            self._note(other, reason, any_file=names_setup(path))
        for other in (*included_in(text), *(plugins_in(text) if has_plugins(path) else ())):
            for place in {other, normpath(f"{dirname(path)}/{other}")}:
                self._note(place, reason, any_file=True)

    def _note(self, path: str, reason: str, *, any_file: bool) -> None:
        for real in resolve(path, self.links.get):
            if real in self.modes and real not in self.named and (any_file or is_script(real, self.modes[real])):
                self.named[real] = reason
                self.waiting.append(real)


async def _text(context: RunContext, commit: CommitId, path: str) -> str:
    try:
        data = await context.repo.read_blob(commit, path.encode("utf-8", "surrogateescape"), limit_bytes=_FILE_BYTES)
    except ValueError:
        return ""
    return "" if data is None else data.decode("utf-8", errors="replace")


async def _is_harmless(context: RunContext, base: CommitId, commit: CommitId, change: TreeChange) -> bool:
    if _LINK in {change.old_mode, change.new_mode}:
        return False
    path = decode(change.path)
    before = None if change.status == "A" else await _text(context, base, path)
    after = None if change.status == "D" else await _text(context, commit, path)
    return is_harmless(path, before, after)


def _moved_along(change: TreeChange, changes: Sequence[TreeChange]) -> bool:
    """Return whether a folder's `conftest.py` or `__init__.py` went, byte by byte, where its tests went."""
    name = basename(change.path)
    if name not in {b"conftest.py", b"__init__.py"}:
        return False
    for old, new in (
        ((change, other) for other in changes) if change.status == "D" else ((other, change) for other in changes)
    ):
        if (old.status, new.status, basename(old.path), basename(new.path)) != ("D", "A", name, name):
            continue
        if old.old_blob != new.new_blob:
            continue
        came, went = dirname(old.path), dirname(new.path)
        gone = [c for c in changes if c.status == "D" and dirname(c.path) == came and basename(c.path) != name]
        there = {c.new_blob for c in changes if c.status == "A" and dirname(c.path) == went}
        if any(is_test_file(decode(c.path)) and c.old_blob in there for c in gone):
            return True
    return False


def _was_asked(path: str, state: RunState) -> bool:
    """Return whether the plan, not the fix of a finding, names a file, or a person let its change pass."""
    if any(
        known.status is FindingStatus.WAIVED and known.finding.file == path and known.finding.gate is GateName.CI
        for known in state.findings.values()
    ):
        return True
    return any(_names(path, glob) for known in state.tasks.values() for glob in asked_paths(known))


def asked_paths(known: TaskState) -> tuple[str, ...]:
    """Return the paths that count as asked for: those of the plan, and of a fix only what a person wrote or opened."""
    return known.granted if known.from_findings else (*known.task.paths, *known.granted)


def _names(path: str, glob: str) -> bool:
    """Return whether a glob names this file: whole, or with a wildcard after the beginning of its name."""
    if names_exactly(path.encode("utf-8", "surrogateescape"), [glob]):
        return True
    last = basename(glob.casefold().rstrip("/"))
    begins = last.split("*")[0].split("?")[0].split("[")[0].split("{")[0]
    is_pattern = begins not in {"", last, "."}
    return (
        is_pattern
        and fnmatchcase(basename(path.casefold()), last)
        and matches_any(path.encode("utf-8", "surrogateescape"), [glob])
    )


def redirect_findings(found: Sequence[GateFileChange], *, review: bool = False) -> list[Finding]:
    """Return a finding for each change; what a task was asked for is for the reviewers to judge.

    In a `review` nothing was asked for: the commands ran with the change, and a person lets it pass.
    """
    words = {"A": "added", "D": "removed", "T": "changed", "M": "changed"}
    findings = []
    for one in found:
        shown = show(one.change.path)
        how = words.get(one.change.status, "changed")
        if review:
            title = f"{shown} was {how}: it decides what the gates do"
            detail = (
                f"{one.why}. The gate commands ran with it as the change has it, so that what they say rests on it. Waive "
                "this finding once somebody has looked at it."
            )
        elif one.asked:
            title = f"{shown} was {how}, as a task asks: it decides what the gates do"
            detail = f"{one.why}. The gate commands ran with it as it is now."
        elif one.is_read:
            title = f"{shown} was {how} and no task of the plan names it"
            detail = (
                f"{one.why}, so that it decides what the gates do. The gate commands ran without this change. Undo it; or "
                "let a person waive this finding, or a task of the plan name the file, and they run with it."
            )
        else:
            title = f"{shown} was {how} and no task of the plan names it"
            detail = f"{one.why}; no gate command is known to call these. The gate commands ran with it as it is now."
        severity = Severity.MUST_FIX if one.is_read and not one.asked else Severity.SHOULD_FIX
        findings.append(
            Finding(title, detail, severity, Category.CI, file=one.path, paths=(one.path,), gate=GateName.CI)
        )
    return findings


async def judged_commit(context: RunContext, commands: Sequence[str], commit: CommitId, state: RunState) -> CommitId:
    """Return the commit on which gate commands run: the protected tests, and what decides on gates unasked, are the base's."""
    if state.base is None:
        return commit
    globs = context.settings.team.gates.protected_tests
    # a reviewed change is judged as it is: what it does to gate files is a finding that only a person lets pass
    paths = {
        one.change.path
        for one in ([] if state.rules.review else await gate_file_changes(context, commands, commit, state))
        if one.is_read and not one.asked
    }
    if globs:
        changed = [change.path for change in await context.repo.changes(state.base, commit)]
        paths.update(path for path in changed if matches_any(path, globs))
    if not paths:
        return commit
    tree = await context.repo.overlay(commit, state.base, sorted(paths))
    author = await context.author("ci_runner", f"protected.{commit}")
    message = context.message("Judge with what decides on gates as it is in the base commit", "", role="ci_runner")
    return await context.repo.commit(tree, (commit,), message, author)
