"""scan: looks for weaknesses in what changed since the base commit, without a model.

Our own scanner reads the changed files of both commits; commands of the user's that print SARIF run on both, in sandboxes.
What the base has not is a finding of category security. The outcome is kept by the two trees, and the security reviewer
reads it as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from codexteam.core.effects import RunGate
from codexteam.core.events import GateFinished, Verdict
from codexteam.core.findings import Severity
from codexteam.core.ids import CommitId
from codexteam.core.paths import show
from codexteam.core.scan_hits import ScanHit, new_hits, read_sarif, scan_findings, with_text
from codexteam.core.state import RunState
from codexteam.core.text import count_of
from codexteam.ports.repo import TreeChange
from codexteam.ports.sandbox import WORKSPACE
from codexteam.ports.scanner import ScanFailed, SourceFile
from codexteam.run.command_outcome import tail
from codexteam.run.context import RunContext
from codexteam.run.gates.commands import check_commit

#: The longest file that is scanned, and the most that one scan reads.
_FILE_BYTES, _ALL_BYTES = 1 << 20, 64 << 20
#: What a command may print.
_SARIF_BYTES = 16 << 20
_SPACE = "scans"


@dataclass(frozen=True, slots=True)
class ScanOutcome:
    """What a scan of a commit found that its base has not."""

    hits: tuple[ScanHit, ...] = ()
    scanners: tuple[str, ...] = ()
    files: int = 0
    """That were scanned on the commit."""
    unread: tuple[str, ...] = ()
    """Changed files that were not, and why; escaped for people."""
    failure: str = ""
    """Why nothing is known; empty if something is."""


@dataclass(frozen=True, slots=True)
class CommandHits:
    """What a command reported of a commit."""

    hits: tuple[ScanHit, ...] = ()
    failure: str = ""


async def run(context: RunContext, effect: RunGate, state: RunState) -> GateFinished:
    """Judge a commit by what a scan of it finds that one of the base does not."""
    found = await scanned(context, effect.commit, state)
    if found.failure:
        return GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED, note=found.failure)
    findings = scan_findings(found.hits, context.settings.team.gates.scan.block_at)
    blocks = any(finding.severity is Severity.MUST_FIX for finding in findings)
    looked = ", ".join(found.scanners)
    note = f"{count_of(found.files, 'changed file')} scanned by {looked}" if found.files else "no file to scan changed"
    return GateFinished(
        effect.round,
        effect.gate,
        effect.commit,
        Verdict.BLOCK if blocks else Verdict.SHIP,
        findings,
        note,
        risks=tuple(f"not scanned: {why}" for why in found.unread),
    )


async def scanned(context: RunContext, commit: CommitId, state: RunState) -> ScanOutcome:
    """Return what a scan of a commit finds that one of the run's base does not."""
    return ScanOutcome() if state.base is None else await scanned_since(context, state.base, commit)


async def scanned_since(context: RunContext, base: CommitId, commit: CommitId) -> ScanOutcome:
    """Return what a scan of a commit finds that one of another does not; done once for two trees."""
    key = f"{await context.repo.tree_of(base)}/{await context.repo.tree_of(commit)}"
    async with context.awaiting([f"{_SPACE}/{key}"]):
        known = await context.recall(_SPACE, key, ScanOutcome)
        if known is None:
            known = await _scan(context, base, commit)
            if not known.failure:
                await context.remember(_SPACE, key, known)
    return known


async def _scan(context: RunContext, base: CommitId, commit: CommitId) -> ScanOutcome:
    settings = context.settings.team.gates.scan
    changes = [change for change in await context.repo.changes(base, commit) if not _excluded(change, settings.exclude)]
    before = await _read(context, base, [change.path for change in changes if change.old_mode in _REGULAR])
    after = await _read(context, commit, [change.path for change in changes if change.new_mode in _REGULAR])
    old: list[ScanHit] = []
    new: list[ScanHit] = []
    scanners: list[str] = []
    if context.scanner is not None and (before.sources or after.sources):
        report = await context.scanner.scan([*before.sources, *after.sources])
        if isinstance(report, ScanFailed):
            return ScanOutcome(failure=f"the scan did not end: {report.reason}")
        scanners += report.scanners
        old += (hit for hits in report.hits[: len(before.sources)] for hit in hits)
        new += (hit for hits in report.hits[len(before.sources) :] for hit in hits)
    for number, command in enumerate(settings.commands if changes else (), 1):
        on_base = await _command_hits(context, base, command, f"scan.{number}.base")
        on_head = await _command_hits(context, commit, command, f"scan.{number}")
        if failure := on_base.failure or on_head.failure:
            return ScanOutcome(failure=failure)
        scanners.append(f"`{command}`")
        old += _placed(on_base.hits, before.files)
        new += _placed(on_head.hits, after.files)
    hits = [hit for hit in new_hits(old, new) if not any(fnmatchcase(hit.rule, rule) for rule in settings.ignore)]
    files = len(after.files) if settings.commands else len(after.sources)
    return ScanOutcome(tuple(hits), tuple(scanners), files, after.unread)


_REGULAR = frozenset({"100644", "100755"})


def _excluded(change: TreeChange, globs: Iterable[str]) -> bool:
    path = change.path.decode("utf-8", errors="replace")
    return any(fnmatchcase(path, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class _Read:
    """Changed files of a commit."""

    files: dict[str, bytes]
    sources: tuple[SourceFile, ...]
    """Those that our scanner reads."""
    unread: tuple[str, ...]


async def _read(context: RunContext, commit: CommitId, paths: Sequence[bytes]) -> _Read:
    files: dict[str, bytes] = {}
    sources: list[SourceFile] = []
    unread: list[str] = []
    left = _ALL_BYTES
    for path in paths:
        name = path.decode("utf-8", errors="replace")
        try:
            data = await context.repo.read_blob(commit, path, limit_bytes=min(left, _FILE_BYTES))
        except ValueError:
            if context.scanner is not None and context.scanner.reads(name, b""):
                unread.append(f"{show(path)} (longer than {_FILE_BYTES:,} bytes, or one of too many)")
            continue
        if data is None:
            continue
        left -= len(data)
        files[name] = data
        if context.scanner is not None and context.scanner.reads(name, data[:200]):
            sources.append(SourceFile(name, data))
    return _Read(files, tuple(sources), tuple(unread[:20]))


async def _command_hits(context: RunContext, commit: CommitId, command: str, name: str) -> CommandHits:
    key = f"{await context.repo.tree_of(commit)}/{command}"
    known = await context.recall(_SPACE, key, CommandHits)
    if known is not None:
        return known
    [outcome] = await check_commit(context, commit, [command], name=name, output_limit_bytes=_SARIF_BYTES)
    try:
        found = CommandHits(read_sarif(outcome.output, root=WORKSPACE))
    except ValueError as error:
        why = f"the scan command `{command}`: {error}. {outcome.describe()}\n{tail(outcome.output)}"
        return CommandHits(failure=why.strip())
    await context.remember(_SPACE, key, found)
    return found


def _placed(hits: Iterable[ScanHit], files: dict[str, bytes]) -> list[ScanHit]:
    """Return the hits in changed files, with the line that each is on but for what is in quotes: it may be a secret."""
    lines = {path: data.decode("utf-8", errors="replace").split("\n") for path, data in files.items()}
    return [with_text(replace(hit), lines[hit.path], secret=True) for hit in hits if hit.path in lines]
