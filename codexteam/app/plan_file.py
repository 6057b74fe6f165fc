"""The plan.md that is there before a run writes its own: taken as the plan, taken over, or refused."""

from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.run_files import PLAN_NAME, read_plan_file
from codexteam.core.ids import RunId, branch_name
from codexteam.core.plan import Plan, TaskStatus
from codexteam.core.plan_graph import graph_of
from codexteam.core.plan_md import Header, is_ours, parse, placed, run_named_in
from codexteam.driver.shown_plan import is_edited
from codexteam.errors import PlanError, UsageError
from codexteam.ports.store import RunRecord, Store

_AWAY = "or move the file away, and a new one is written"


@dataclass(frozen=True, slots=True)
class GivenPlan:
    """A plan that a run is begun with, and the text that it was read from."""

    plan: Plan
    text: str


def given_plan(plan_file: Path | None, cwd: Path) -> GivenPlan | None:
    """Read the file of `--plan`.

    Raises:
        UsageError: there is no such file.
        PlanError: it cannot be read, or does not hold together.
    """
    if plan_file is None:
        return None
    path = cwd / plan_file
    text = read_plan_file(path)
    if text is None:
        raise UsageError(f"--plan {path}: there is no such file")
    try:
        plan = parse(text).plan()
    except PlanError as error:  # it need not be named plan.md
        raise PlanError(f"{plan_file}{str(error).removeprefix(PLAN_NAME)}", hint=error.hint) from None
    if all(task.status is TaskStatus.DROPPED for task in plan.tasks):
        raise PlanError(f"{path}: there are no tasks to do in it")
    done = [task.id for task in plan.tasks if task.status is TaskStatus.DONE]
    if done:
        raise PlanError(
            f"{path}: {', '.join(done)}: marked [x], but a new run begins without the work of another",
            hint="mark [ ] what is to be done, and [-] or take out what is not",
        )
    try:
        graph_of(plan.tasks)
    except PlanError as error:
        raise placed(error, text, str(path)) from error
    return GivenPlan(plan, text)


def given_mark(run_id: RunId) -> tuple[str, str]:
    """Give the space and key in the store of the plan that a run is begun with."""
    return f"{run_id}/given", "plan"


async def plan_begun_with(store: Store, run_id: RunId) -> Plan | None:
    """Give the plan that a run was begun with: it may have ended before it took it in."""
    kept = await store.get(*given_mark(run_id))
    text = kept.get("text") if kept else None
    return parse(text).plan() if isinstance(text, str) else None


def refuse_foreign_plan(root: Path, plan_file: Path | None, cwd: Path) -> None:
    """A plan.md that is not ours is never written over.

    Raises:
        UsageError: there is one.
    """
    path = root / PLAN_NAME
    text = read_plan_file(path)
    if text is not None and text.strip() and not is_ours(text) and not _same(path, plan_file, cwd):
        hint = "move it away; codexteam writes its own plan.md there"
        hint += ", or give it with --plan if it is written in codexteam's form"
        raise UsageError(f"{path}: this file was not written by codexteam, and would be replaced", hint=hint)


async def refuse_edited_plan(store: Store, root: Path, plan_file: Path | None, cwd: Path) -> None:
    """An edit that an earlier run has not taken yet is not written over by a new one.

    Raises:
        PlanError: there is one.
    """
    path = root / PLAN_NAME
    text = read_plan_file(path)
    if text is not None and (named := run_named_in(text)) and not _same(path, plan_file, cwd):
        await _refuse_edit(store, RunId(named), text, f"give it with --plan {PLAN_NAME}, {_AWAY}")


async def refuse_to_lose(store: Store, record: RunRecord, text: str) -> None:
    """Refuse to go on over a plan.md that is not the run's: nobody's, or another run's with an edit of its user's.

    Raises:
        PlanError: it is one of these.
    """
    header = Header(record.run_id, record.base, branch_name(record.run_id)).render()
    named = run_named_in(text)
    if named is None:
        raise PlanError(
            f"{PLAN_NAME}: the line that says whose it is is gone; the file was left as it is",
            hint=f"put the line back below the title: {header}; {_AWAY}",
        )
    if named not in {run.run_id for run in await store.runs()}:
        raise PlanError(
            f"{PLAN_NAME}: it is of a run {named!r} that is not known here; the file was left as it is",
            hint=f"the line below the title of this run's is: {header}; {_AWAY}",
        )
    await _refuse_edit(store, RunId(named), text, _AWAY)


async def _refuse_edit(store: Store, run_id: RunId, text: str, other_ways: str) -> None:
    if await is_edited(store, run_id, text):
        raise PlanError(
            f"{PLAN_NAME}: it is of run {run_id}, and was edited; the file was left as it is",
            hint=f"codexteam resume {run_id} takes the edit; {other_ways}",
        )


def _same(path: Path, plan_file: Path | None, cwd: Path) -> bool:
    return plan_file is not None and (cwd / plan_file).resolve() == path.resolve()
