"""The plan.md that is there before a run writes its own: taken as the plan, taken over, or refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from codexteam.adapters.machine.run_files import PLAN_NAME, read_plan_file
from codexteam.config.priced import priceless, unpriced_units
from codexteam.config.settings import Settings
from codexteam.config.team import writing_roles
from codexteam.core.codec import StoredForm, decode, stored
from codexteam.core.ids import RunId, branch_name
from codexteam.core.plan_check import PlanNames, check_graph, check_plan, placed, role_problem
from codexteam.core.plan_graph import Plan, Task, TaskStatus
from codexteam.core.plan_md import Header, is_ours, parse, run_named_in
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.task_budgets import idle_shares
from codexteam.errors import PlanError, UsageError
from codexteam.ports.store import RunRecord, Store
from codexteam.run.plan_versions import is_edited

_AWAY = "or move the file away, and a new one is written"
#: What to do about a plan in which nothing is left.
NO_TASKS = "a task to do is a line `- [ ] **T1** title` below `## Tasks`"


@dataclass(frozen=True, slots=True)
class GivenPlan:
    """A plan that a run is begun with, and the text that it was read from."""

    plan: Plan
    text: str

    @property
    def by_person(self) -> bool:
        """Whether a person wrote it; a file that a run wrote holds what its planner wrote, whoever hands it on."""
        return not is_ours(self.text)


def given_plan(
    plan_file: Path | None, cwd: Path, settings: Settings, repositories: Sequence[str] = ()
) -> GivenPlan | None:
    """Read the file of `--plan` and check all of it before anything of the run is stored.

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
        document = parse(text)
    except PlanError as error:  # it need not be named plan.md
        raise PlanError(f"{plan_file}{str(error).removeprefix(PLAN_NAME)}", hint=error.hint) from None
    plan = document.plan()
    if all(task.status is TaskStatus.DROPPED for task in plan.tasks):
        raise PlanError(f"{path}: there are no tasks to do in it", hint=NO_TASKS)
    done = [task.id for task in plan.tasks if task.status is TaskStatus.DONE]
    if done:
        raise PlanError(
            f"{path}: {', '.join(done)}: marked [x], but a new run begins without the work of another",
            hint="mark [ ] what is to be done, and [-] or take out what is not",
        )
    names = replace(plan_names(settings), repositories=repositories)
    check_plan(document, text, str(plan_file), plan.tasks, names)
    check_graph(document, str(plan_file), plan.tasks)
    return GivenPlan(plan, text)


def share_notices(tasks: Iterable[Task], settings: Settings) -> tuple[str, ...]:
    """Say which tasks' shares limit nothing, as the run has no limit that they could be a share of."""
    idle = idle_shares(tasks, settings.team.budget)
    if not idle:
        return ()
    which = "the budget" if len(idle) == 1 else "the budgets"
    return (
        f"{PLAN_NAME}: {which} of {', '.join(idle)} limit{'s' if len(idle) == 1 else ''} nothing: a share is one of the "
        "run's limits, and this run has none; give one with --budget 5usd, or write an amount, as `budget: 400k tokens`",
    )


def plan_names(settings: Settings, state: RunState | None = None) -> PlanNames:
    """Return what a plan may name here."""
    writers = writing_roles(settings)
    return PlanNames(
        writers=writers,
        readers=settings.roles.keys() - set(writers),
        findings=state.findings.keys() if state else (),
        unpriced=unpriced_units(settings),
        priceless=partial(priceless, settings),
        known=state.tasks.keys() if state else (),
        repositories=state.rules.repositories if state else (),
    )


def check_roles(settings: Settings, state: RunState, text: str | None) -> None:
    """See whether every task that a run has left to do has a role that is still there.

    Raises:
        PlanError: one has none; with its line in plan.md where it stands there.
    """
    around = plan_names(settings, state)
    for known in state.tasks.values():
        if known.phase in {TaskPhase.MERGED, TaskPhase.DROPPED}:
            continue
        if found := role_problem(known.task.role, around):
            hint = f"{found[1]}; put the role back, or name another one in {PLAN_NAME}, then codexteam resume"
            error = PlanError(f"plan: role of {known.task.id}: {found[0]}", hint=hint, task_id=known.task.id)
            raise placed(error, parse(text), PLAN_NAME) if text else error


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class GivenText:
    """The plan.md that a run is begun with, secrets taken out."""

    text: str


def given_mark(run_id: RunId) -> tuple[str, str]:
    """Return the space and key in the store of the plan that a run is begun with."""
    return f"{run_id}/given", "plan"


async def plan_begun_with(store: Store, run_id: RunId) -> GivenPlan | None:
    """Return the plan that a run was begun with: it may have ended before it took it in."""
    kept = await store.get(*given_mark(run_id))
    if kept is None:
        return None
    text = decode(GivenText, kept, "the plan that the run was begun with").text
    return GivenPlan(parse(text).plan(), text)


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
    """Refuse to overwrite a plan.md that is not the run's: nobody's, or another run's that its user has edited.

    Raises:
        PlanError: it is one of these.
    """
    header = Header(record.run_id, record.base, branch_name(record.run_id)).render()
    named = run_named_in(text)
    if named is None:
        raise PlanError(
            f"{PLAN_NAME}: the line `<!-- codexteam run ... -->` is missing; the file was left as it is",
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
