"""`report`: reads all that is kept of a run and puts it together."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.project import (
    Project,
    commits_of,
    killed_calls,
    live_process,
    overview,
    pick_run,
    reading_store,
)
from codexteam.app.receipts import receipts_of
from codexteam.core.codec import decode
from codexteam.core.events import Event
from codexteam.core.merge_train import merges_in
from codexteam.core.stored_state import decode_event
from codexteam.errors import RepoError, SurroundingsError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, Store
from codexteam.report.overview import RunOverview
from codexteam.report.run_report import ReportedDiff, ReportSources, RunReport, build_report
from codexteam.run.remembered import AcceptedWork

#: What of all tasks' diffs is shown, and of one: `codexteam diff` shows all.
_DIFF_CHARS = 600_000
_TASK_DIFF_CHARS = 60_000


def run_report(
    project: Project, name: str | None, *, reviews: bool = True, most_replayed: int | None = None
) -> RunReport:
    """Return the report of a run, the newest without a name.

    Args:
        project: whose run it is.
        name: the run's id, or its beginning.
        reviews: whether reviews count as runs.
        most_replayed: how many decisions may be repeated for other widths; None is as many as it takes.

    Raises:
        UsageError: there is no such run.
        StoreError: it cannot be read.
    """
    # not a result of the coroutine: as asyncio ends, it looks up its signal handler in a way that writes the whole of what
    # its task has returned as text
    read: list[ReportSources] = []
    asyncio.run(_read(project, name, read, reviews=reviews))
    return build_report(read[0], most_replayed=most_replayed)


async def _read(project: Project, name: str | None, into: list[ReportSources], *, reviews: bool) -> None:
    async with reading_store(project) as store:
        record = await pick_run(store, name, reviews=reviews)
        run = await overview(store, record, live_process(project))
        decided = [
            (stored.at_seconds, decode_event(stored.kind, stored.payload))
            for stored in await store.events(record.run_id)
        ]
        diffs = asyncio.ensure_future(asyncio.to_thread(_diffs, project, run, decided))  # git looks while we read
        into.append(
            ReportSources(
                run,
                await events_of_run(store, record, live=run.live),
                decided,
                accepted={
                    key: decode(AcceptedWork, value, f"the accepted work {key}")
                    for key, value in await store.list(f"{record.run_id}/accepted")
                },
                receipts=await receipts_of(store, record.run_id),
                diffs=await diffs,
                taken_at_seconds=SystemClock().wall_seconds(),
                folder=str(project.run_folder(record.run_id)),
            )
        )


async def events_of_run(store: Store, record: RunRecord, *, live: bool) -> list[RunEvent]:
    """Return all facts of a run in order; of one that nobody drives also what its open calls may cost."""
    facts = await store.facts(record.run_id)
    if not live:
        facts += await killed_calls(store, record, at_seconds=facts[-1].at_seconds if facts else 0.0)
    return facts


def _diffs(project: Project, run: RunOverview, decided: list[tuple[float, Event]]) -> Mapping[str, ReportedDiff]:
    """Return what each merged task changed on the integration branch; nothing where its commits are gone."""
    merged = {str(merge.commit): str(merge.task_id) for merge in merges_in(event for _, event in decided)}
    state = run.state
    if not merged or state.base is None or state.tip is None:
        return {}
    commits = commits_of(project)
    try:
        found = commits.patches(state.base, state.tip)
    except RepoError:  # it was cleaned
        return {}
    finally:
        commits.close()
    shown: dict[str, ReportedDiff] = {}
    left = _DIFF_CHARS
    for commit, patch in found.items():
        if (task := merged.get(commit)) is None:
            continue
        most = min(left, _TASK_DIFF_CHARS)
        text = patch.text if len(patch.text) <= most else patch.text[: patch.text.rfind("\n", 0, most) + 1]
        left -= len(text)
        shown[task] = ReportedDiff(text, patch.cut or len(text) < len(patch.text))
    return shown


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report that was written into a file."""

    run_id: str
    file: Path
    size_bytes: int


def write_report(text: str, run_id: str, file: Path) -> WrittenReport:
    """Write a report, whole or not at all; only its user may read it.

    Raises:
        SurroundingsError: the file cannot be written.
    """
    data = text.encode("utf-8", "backslashreplace")
    fresh = file.with_name(f".{file.name}.codexteam-new")
    try:
        fresh.write_bytes(data)
        fresh.chmod(0o600)
        fresh.replace(file)
    except OSError as error:
        raise SurroundingsError(f"{file}: the report cannot be written: {error.strerror}") from error
    return WrittenReport(run_id, file, len(data))
