"""`diff`: what a whole run changed, or one task's own work against its own base."""

import asyncio
import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from codexteam.app.looking import Where, reading_store, state_of
from codexteam.app.output import Output
from codexteam.app.start import Ground, pick_run
from codexteam.app.viewing import merged_as, task_of
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.text import clean_line
from codexteam.errors import UsageError
from codexteam.ports.store import RunRecord, Store


class Kind(Enum):
    """What is printed of a difference."""

    PATCH = "patch"
    STAT = "stat"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class Span:
    """Two commits to compare."""

    run_id: RunId
    what: str
    old: str
    new: str


def diff(where: Where, output: Output, task: str | None, run: str | None, *, kind: Kind, patch_out: Path | None) -> int:
    """Print a difference, or write it into a file that `git apply` takes.

    Raises:
        UsageError: there is no such run or task, or no work of it.
        RepoError: its commits are gone.
    """
    from codexteam.adapters.git.showing import Form, RunCommits

    ground, span = asyncio.run(_span(where, task, run))
    commits = RunCommits(ground.places, ground.state_dir, where.environment)
    try:
        if span.new == "":
            tip = commits.tip(span.run_id)
            if tip is None:
                raise UsageError(f"run {span.run_id} has merged nothing yet", hint="codexteam status")
            span = Span(span.run_id, span.what, span.old, tip)
        if patch_out is not None:
            size = commits.write_patch(span.old, span.new, _in(where.cwd, patch_out))
            output.note(f"wrote {patch_out} ({size:,} bytes): {span.what}")
            if output.json_lines:
                output.record({"type": "diff.completed", "file": str(patch_out), "bytes": size, **_facts(span)})
            return 0
        if output.json_lines:
            changed = [
                _change(each.path, each.status, each.old_mode, each.new_mode)
                for each in commits.changes(span.old, span.new)
            ]
            for fields in changed:
                output.record(fields)
            output.record({"type": "diff.completed", "count": len(changed), **_facts(span)})
            return 0
        if kind is Kind.NAMES:
            for each in commits.changes(span.old, span.new):
                output.out.write(clean_line(os.fsdecode(each.path)) + "\n")
            return 0
        shown = commits.diff(span.old, span.new, Form.STAT if kind is Kind.STAT else Form.PATCH)
        with output.paged() as target:
            target.write(painted(shown.text) if output.is_coloured and kind is Kind.PATCH else shown.text)
        if shown.cut:
            output.note("the rest is left out: --patch-out FILE writes all of it")
        return 0
    finally:
        commits.close()


def _facts(span: Span) -> JSONObject:
    return {"run": span.run_id, "what": span.what, "old": span.old, "new": span.new}


def _change(path: bytes, status: str, old_mode: str, new_mode: str) -> JSONObject:
    name = path.decode("utf-8", "backslashreplace")
    return {"type": "change", "path": name, "status": status, "old_mode": old_mode, "new_mode": new_mode}


def _in(folder: Path, path: Path) -> Path:
    return path if path.is_absolute() else folder / path


async def _span(where: Where, task: str | None, run: str | None) -> tuple[Ground, Span]:
    ground = where.ground()
    async with reading_store(ground) as store:
        record = await pick_run(store, run)
        if task is None:
            state = await state_of(store, record)
            return ground, Span(record.run_id, f"run {record.run_id}", record.base, state.tip or "")
        return ground, await _task_span(store, record, task)


async def _task_span(store: Store, record: RunRecord, name: str) -> Span:
    """Give a task's newest accepted work against the base that its agent saw."""
    known = task_of(await state_of(store, record), name)
    task_id = known.task.id
    accepted = [
        (int(key.rpartition(".")[2]), value)
        for key, value in await store.list(f"{record.run_id}/accepted", prefix=f"{task_id}.")
        if key.rpartition(".")[2].isdigit()
    ]
    if accepted:
        number, value = max(accepted, key=lambda each: each[0])
        match value:
            case {"base": str(base), "commit": str(commit)}:
                return Span(record.run_id, f"{task_id}, attempt {number}", base, commit)
            case _:
                pass
    merged = await merged_as(store, record, task_id)
    if merged:
        return Span(record.run_id, f"{task_id}, as merged", f"{merged}^", merged)
    raise UsageError(
        f"{task_id} has handed in no work that was accepted; it is {known.phase.value}",
        hint=f"codexteam show {task_id} says why; codexteam salvage lists all work there is",
    )


_MARKS = (
    (re.compile(r"^(diff |index |--- |\+\+\+ |similarity |rename |new file |deleted file |old mode |new mode )"), "1"),
    (re.compile(r"^@@"), "36"),
    (re.compile(r"^\+"), "32"),
    (re.compile(r"^-"), "31"),
)


def painted(text: str) -> str:
    """Give an escaped patch with git's colours."""
    return "".join(_painted_line(line) for line in text.splitlines(keepends=True))


def _painted_line(line: str) -> str:
    for pattern, colour in _MARKS:
        if pattern.match(line):
            body = line.removesuffix("\n")
            return f"\x1b[{colour}m{body}\x1b[m{line[len(body) :]}"
    return line
