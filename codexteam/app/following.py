"""`logs` and `events`: a run's history as it was written, and as it is being written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from codexteam.app.history import event_of
from codexteam.app.looking import Where, events_path, live_run, reading_store, state_of
from codexteam.app.output import Output
from codexteam.app.start import Ground, pick_run
from codexteam.app.viewing import task_of
from codexteam.core.ids import RunId
from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.board import describe

# The standard library cannot wait for a file to grow, so following looks again: often while lines come, up to once a
# second while none do.
_SOONEST_SECONDS = 0.05
_LATEST_SECONDS = 1.0
#: An agent's own doings, of interest to who asks for one task.
_ACTIONS = {"agent.acted": "{agent}: {action}", "agent.waiting": "{agent} waits: {reason}"}


def logs(where: Where, output: Output, task: str | None, run: str | None, *, follow: bool) -> int:
    """Print a run's history as lines, all of it or one task's; `follow` goes on until the run ends.

    Raises:
        UsageError: there is no such run or task.
    """
    ground, run_id, task_id = asyncio.run(_named(where, task, run))
    shown = 0

    def show(line: bytes, out: Callable[[str], object]) -> None:
        nonlocal shown
        event = event_of(line)
        if event is None or (task_id and event.fields.get("task") != task_id):
            return
        words = describe(event) or (_action(event) if task_id else "")
        if not words:
            return
        shown += 1
        if output.json_lines:
            out(line.decode("ascii", "backslashreplace"))
        else:
            at = datetime.fromtimestamp(event.at_seconds, UTC)
            out(f"{at:%H:%M:%S} {clean_line(words)}\n")

    _print(ground, run_id, output, show, follow=follow)
    if output.json_lines:
        output.record({"type": "logs.completed", "run": run_id, "count": shown})
    elif not shown:
        output.note(f"run {run_id} has reported nothing" + (f" on {task_id}" if task_id else ""))
    return 0


def events(where: Where, output: Output, run: str | None, *, follow: bool) -> int:
    """Print `events.jsonl` as it is, line by line.

    Raises:
        UsageError: there is no such run.
    """
    ground, run_id, _ = asyncio.run(_named(where, None, run))
    shown = 0

    def show(line: bytes, out: Callable[[str], object]) -> None:
        nonlocal shown
        shown += 1
        out(line.decode("ascii", "backslashreplace"))

    _print(ground, run_id, output, show, follow=follow, pager=False)
    if output.json_lines:
        output.record({"type": "events.completed", "run": run_id, "count": shown})
    return 0


def _action(event: RunEvent) -> str:
    wording = _ACTIONS.get(event.kind, "")
    values = {name: str(value) for name, value in event.fields.items()}
    with suppress(KeyError):
        return wording.format_map(values)
    return ""


async def _named(where: Where, task: str | None, run: str | None) -> tuple[Ground, RunId, str | None]:
    ground = where.ground()
    async with reading_store(ground) as store:
        record = await pick_run(store, run)
        task_id = task_of(await state_of(store, record), task).task.id if task else None
        return ground, record.run_id, task_id


def _print(
    ground: Ground,
    run_id: RunId,
    output: Output,
    show: Callable[[bytes, Callable[[str], object]], None],
    *,
    follow: bool,
    pager: bool = True,
) -> None:
    path = events_path(ground, run_id)
    if follow:

        def show_now(line: bytes) -> None:
            show(line, output.out.write)
            output.out.flush()

        asyncio.run(_follow(ground, run_id, show_now))
    elif pager and not output.json_lines:
        with output.paged() as target:
            for line in _lines(path):
                show(line, target.write)
    else:
        for line in _lines(path):
            show(line, output.out.write)


def _lines(path: Path) -> list[bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]  # a line that is being written is left out
    return whole.splitlines(keepends=True)


async def _follow(ground: Ground, run_id: RunId, show: Callable[[bytes], None]) -> None:
    async for line in _growing(ground, run_id):
        show(line)


async def _growing(ground: Ground, run_id: RunId) -> AsyncIterator[bytes]:
    """Give a run's lines as they come, until it has ended; that a run finished and went on does not end it."""
    path = events_path(ground, run_id)
    offset, rest, wait = 0, b"", _SOONEST_SECONDS
    while True:
        # asked before the file is read: what a run wrote before it ended is then in what is read
        over = live_run(ground) != run_id
        data = await asyncio.to_thread(_read_from, path, offset)
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if over:
            return
        wait = _SOONEST_SECONDS if data else min(wait * 1.5, _LATEST_SECONDS)
        await asyncio.sleep(wait)


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""
