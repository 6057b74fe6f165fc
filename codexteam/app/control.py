"""What people decide for a run, waiting or active: answers, approvals, waivers."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from codexteam.app.delivery import deliver
from codexteam.app.inspect import OVER
from codexteam.app.live_requests import POSTED_WORDS, Fate, Reply, redactor_of
from codexteam.app.project import Project, pick_run, reading_store, state_of
from codexteam.core.approvals import DECLINED, FINDINGS
from codexteam.core.events import Answered
from codexteam.core.replies import Choice, is_approvable, read_reply, read_waiver, waived_names
from codexteam.core.state import FindingStatus, RunState
from codexteam.core.text import clean_line
from codexteam.errors import StoreError, UsageError
from codexteam.ports.store import RunRecord, Store


@dataclass(frozen=True, slots=True)
class InboxItem:
    """Something that waits, and its run."""

    record: RunRecord
    state: RunState
    name: str


def answer(project: Project, item: str, run: str | None, *, text: str, choice: Choice, resumes: bool = False) -> Reply:
    """Answer something that waits for a person, or waive findings at any time; `resumes` as in `approve_all`.

    Raises:
        UsageError: nothing of that name waits, or the answer does not fit it.
    """
    return asyncio.run(_answer(project, item, run, text=text, choice=choice, resumes=resumes))


def approve_all(project: Project, run: str | None, *, resumes: bool = False) -> Iterator[Reply]:
    """Approve all that waits in a run and needs no words; with `resumes` who asks continues the run by itself.

    Raises:
        UsageError: nothing does, or several runs wait.
    """
    waiting = asyncio.run(_waiting(project, run))
    found = [item for item in waiting if is_approvable(item.name)]
    runs = list(dict.fromkeys(item.record.run_id for item in found))
    if not found:
        raise UsageError("nothing waits that can be approved without words", hint=_INBOX)
    if len(runs) > 1:
        raise UsageError(f"several runs wait: {', '.join(runs)}", hint="say which: --run RUN")
    for item in found:
        event = read_reply(item.state, item.name, "", Choice.APPROVE)
        yield asyncio.run(_send(project, item.record, event, resumes=resumes))


async def _answer(project: Project, name: str, run: str | None, *, text: str, choice: Choice, resumes: bool) -> Reply:
    names = waived_names(name, text) if choice is Choice.NONE else None
    waiting = await _waiting(project, run)
    try:
        item = _named(waiting, name)
    except UsageError:
        if names is None:
            raise
        record, state = await _with_findings(project, run, names)
        return await _send(project, record, read_waiver(state, names), resumes=resumes)
    redactor = await redactor_of(project, item.record)
    event = read_reply(item.state, item.name, redactor.redact(text), choice)
    return await _send(project, item.record, event, resumes=resumes)


async def _send(project: Project, record: RunRecord, event: Answered, *, resumes: bool) -> Reply:
    run_id, name = record.run_id, event.item
    try:
        delivered = await deliver(project, record, event)
    except UsageError as error:
        raise UsageError(f"{name}: {error}", hint=error.hint or _INBOX) from error
    match delivered.fate:
        case Fate.TAKEN:
            return Reply(run_id, name, f"{_what(event)}; the run continues with it", "taken")
        case Fate.LEFT:
            return Reply(run_id, name, f"{_what(event)}; the run reads it shortly", "left")
        case Fate.POSTED:
            return Reply(run_id, name, f"{_what(event)}; {POSTED_WORDS}", "posted")
        case Fate.OVER:
            after = delivered.after
            waits = ", ".join(after.holds)
            if waits:
                words = f"{_what(event)}; still waiting: {waits}"
            elif after.plan_feedback == DECLINED:
                words = "declined. Edit plan.md and continue: codexteam resume; or leave it"
            elif name.startswith("rounds.") and not event.approved:
                words = "declined; the run ends as it is. To put what was merged into a branch: codexteam resume"
            else:
                words = _what(event) if resumes else f"{_what(event)}. Continue: codexteam resume"
            return Reply(run_id, name, words, "stored", resumable=after.plan_feedback != DECLINED)


def _what(event: Answered) -> str:
    if event.text.startswith("waive") and (event.item == FINDINGS or event.item.startswith("rounds.")):
        return f"waived {', '.join(event.text.split()[1:]) or 'all but security findings'}"
    if is_approvable(event.item):
        return "approved" if event.approved else "sent back" if event.text else "declined"
    return "answer saved"


async def _waiting(project: Project, run: str | None) -> list[InboxItem]:
    """Return what waits in the runs that are not over, or in the named one."""
    async with reading_store(project) as store:
        records = [await pick_run(store, run)] if run else await store.runs()
        return [
            InboxItem(record, state, item)
            async for record, state in _open_runs(store, records, named=bool(run))
            for item in state.holds
        ]


async def _open_runs(
    store: Store, records: Sequence[RunRecord], *, named: bool
) -> AsyncIterator[tuple[RunRecord, RunState]]:
    for record in records:
        if record.state in OVER:
            continue
        try:
            yield record, await state_of(store, record)
        except StoreError:
            if named:
                raise
            # it must not keep the others from being answered; `inbox` says why it cannot be read


def _named(waiting: Sequence[InboxItem], name: str) -> InboxItem:
    """Return what waits under a name, or under the start of one.

    Raises:
        UsageError: nothing does, or several things do.
    """
    exact = [item for item in waiting if item.name == name]
    found = exact or [item for item in waiting if item.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(dict.fromkeys(item.name for item in waiting)) or "nothing"
        raise UsageError(f"nothing that waits is called {clean_line(name)!r}; what waits: {names}", hint=_INBOX)
    several = ", ".join(f"{item.name} in {item.record.run_id}" for item in found)
    raise UsageError(f"{clean_line(name)!r} names several things: {several}", hint="give the whole name, and --run RUN")


async def _with_findings(project: Project, run: str | None, names: Sequence[str]) -> tuple[RunRecord, RunState]:
    """Return the newest run with open findings of these names; without one, the newest that could have some."""
    async with reading_store(project) as store:
        records = [await pick_run(store, run)] if run else await store.runs()
        found = [each async for each in _open_runs(store, records, named=bool(run))]
    wanted = {name.upper() for name in names}
    for record, state in found:
        open_ids = {str(i) for i, known in state.findings.items() if known.status is FindingStatus.OPEN}
        if open_ids and wanted <= open_ids:
            return record, state
    if not found:
        raise UsageError("no run has open findings", hint="codexteam runs lists all runs")
    return found[0]


_INBOX = "codexteam inbox shows each with its question"
