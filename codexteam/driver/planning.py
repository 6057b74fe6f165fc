"""Before the work: the base commit, the scouts, the plan; and later the tasks that fix findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.agent import briefs
from codexteam.agent.assignment import Assignment, Handed, NoAnswer, Shortage
from codexteam.agent.office import WRITERS, Office
from codexteam.core.effects import MakePlan, Replan
from codexteam.core.events import BudgetSpent, Event, Planned, PlanningFailed, Replanned, RunPrepared, Scouted
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, Purpose
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan import Plan, Task
from codexteam.core.plan_answer import plan_of
from codexteam.core.state import RunState
from codexteam.driver.code_index import CodeIndex
from codexteam.errors import PlanError
from codexteam.ports.endings import together
from codexteam.ports.fault_points import reach

#: What the orchestrator gets to read of the scouts' reports.
_SCOUT_CHARS = 40_000


async def prepare(office: Office, base: CommitId) -> Event:
    """Bring the base commit into the hub, point the integration branch to it, and make the sandboxes' base ready."""
    await office.repo.fetch_base(office.run_id, base)
    if await office.repo.branch_tip(office.run_id) is None:
        await office.repo.update_branch(office.run_id, base, None)
    source = await office.repo.base_source(office.run_id, base)
    reach("sandbox.prepare.before")
    await office.engine.prepare(source, on_progress=lambda line: office.tell("sandbox.progress", {"line": line}))
    reach("sandbox.prepare.after")
    return RunPrepared(base)


def writing_roles(office: Office) -> list[str]:
    """Give the roles that a task may name: those that write code, the user's own included."""
    own = [
        name
        for name, role in office.settings.roles.items()
        if name not in _SHIPPED and role.sandbox_mode.value != "read-only"
    ]
    return sorted({*(name for name in ("implementer", "documentation") if name in office.settings.roles), *own})


_SHIPPED = frozenset(
    {
        *WRITERS,
        "orchestrator",
        "explorer",
        "ci_runner",
        "reviewer",
        "security_reviewer",
        "release_manager",
        "requirement_analyst",
    }
)


@dataclass(frozen=True, slots=True)
class _Scouted:
    number: int
    area: str
    answer: JSONObject | None
    problem: str = ""


async def scout(office: Office, state: RunState) -> tuple[Event, ...]:
    """Let explorers look, each at one part; what earlier runs know of unchanged files is not asked for again."""
    base = _base(state)
    index = CodeIndex(office.store)
    files = await office.repo.list_files(base)
    unknown = await index.unknown(files)
    areas = _areas(unknown, len(files), office.settings.team.limits.max_scouts)
    found = await together(*(_scout(office, base, state.goal, n, area) for n, area in enumerate(areas, start=1)))
    reports = [scouted for scouted in found if scouted.answer is not None]
    blobs = {path: blob for path, _, blob in files}
    commands: list[str] = []
    for scouted in reports:
        answer = scouted.answer or {}
        await index.learn(answer, blobs)
        commands += [
            command for entry in _objects(answer.get("ci")) if (command := _text(entry.get("command")).strip())
        ]
    await office.remember("scouts", "ci", {"commands": list(dict.fromkeys(commands))})
    text = "\n\n".join(
        f"Scout {scouted.number} ({scouted.area}):\n{_text((scouted.answer or {}).get('summary'))}"
        for scouted in reports
    )
    known = await index.describe(files)
    await office.remember("scouts", "report", {"text": f"{text}\n\nFiles:\n{known}"[:_SCOUT_CHARS]})
    problems = tuple(f"scout {scouted.number}: {scouted.problem}" for scouted in found if scouted.answer is None)
    spent = [scouted.problem for scouted in found if scouted.problem.startswith("budget: ")]
    event = Scouted(problems)
    return (BudgetSpent(spent[0].removeprefix("budget: ")), event) if spent else (event,)


async def _scout(office: Office, base: CommitId, goal: str, number: int, area: str) -> _Scouted:
    key = office.key("explorer", Purpose.SCOUT, attempt=number)
    match await office.crew.assign(Assignment(key, base, briefs.scout(goal, area))):
        case Handed(answer=answer):
            return _Scouted(number, area, answer)
        case NoAnswer(reason=reason, shortage=shortage):
            return _Scouted(number, area, None, f"budget: {reason}" if shortage is Shortage.RUN else reason)


def _areas(unknown: Sequence[bytes], total: int, most: int) -> list[str]:
    """Share the work out: the first scout reads how the repository is built and checked, the others its code by folder."""
    areas = [
        "how the repository is built, tested and checked: README, AGENTS.md, build files, every CI workflow, and the local "
        "commands that mirror each of them (`ci` in your answer)"
    ]
    folders: dict[str, int] = {}
    for path in unknown:
        top = path.decode("utf-8", errors="replace").split("/", 1)
        folders[top[0] if len(top) > 1 else "."] = folders.get(top[0] if len(top) > 1 else ".", 0) + 1
    by_size = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    groups: list[list[str]] = [[] for _ in range(max(0, min(most - 1, len(by_size))))]
    loads = [0] * len(groups)
    for folder, size in by_size:
        if not groups:
            break
        lightest = loads.index(min(loads))
        groups[lightest].append(folder)
        loads[lightest] += size
    # a small repository is read by two; nobody is sent where everything is known already
    wanted = groups if total > 40 else groups[:1]
    areas += [
        f"the code in {', '.join(group)}: purpose and main symbols of each file (`files` in your answer)"
        for group in wanted
    ]
    return areas[:most]


async def make_plan(office: Office, effect: MakePlan, state: RunState) -> tuple[Event, ...]:
    """Let the orchestrator plan; a plan that does not hold goes back with the reasons."""
    report_of_scouts = await office.recall("scouts", "report")
    reading = await _reading(office, state) if effect.attempt == 1 else ""
    prompt = briefs.plan(
        state.goal,
        scouts=_text(report_of_scouts.get("text")) if report_of_scouts else "",
        feedback=effect.feedback,
        roles=writing_roles(office),
        max_tasks=state.rules.max_tasks,
        reading=reading,
    )
    key = office.key("orchestrator", Purpose.PLAN, attempt=effect.attempt)
    match await office.crew.assign(Assignment(key, _base(state), prompt)):
        case NoAnswer(reason=reason, shortage=shortage):
            failed = PlanningFailed(reason)
            return (BudgetSpent(reason), failed) if shortage is Shortage.RUN else (failed,)
        case Handed(answer=answer):
            return (_planned(office, answer, state),)


#: A goal of fewer words than this, or one that only asks, is read by the requirement analyst first.
_VAGUE_WORDS = 6


async def _reading(office: Office, state: RunState) -> str:
    """Let the requirement analyst read a vague goal; a clear one costs nothing."""
    words = state.goal.split()
    if len(words) >= _VAGUE_WORDS or "requirement_analyst" not in office.settings.roles:
        return ""
    key = office.key("requirement_analyst", Purpose.SCOUT, attempt=1)
    match await office.crew.assign(Assignment(key, _base(state), briefs.reading(state.goal))):
        case Handed(answer=answer):
            return _text(answer.get("summary"))
        case NoAnswer():
            return ""


def _planned(office: Office, answer: JSONObject, state: RunState) -> Planned | PlanningFailed:
    try:
        plan = plan_of(answer, goal=state.goal, roles=writing_roles(office), max_tasks=state.rules.max_tasks)
    except PlanError as error:
        return PlanningFailed(str(error))
    return Planned(plan)


async def replan(office: Office, effect: Replan, state: RunState) -> Event:
    """Let the orchestrator turn findings into tasks; what it leaves out, or gets wrong, `step` makes a task of."""
    tasks = [known.task for known in state.tasks.values()]
    numbers = [int(task.id[1:]) for task in tasks if task.id[1:].isdigit()]
    prompt = briefs.replan(
        state.goal, tasks, effect.findings, next_id=f"T{max(numbers, default=0) + 1}", roles=writing_roles(office)
    )
    key = office.key("orchestrator", Purpose.REPLAN, attempt=effect.round)
    report = await office.crew.assign(Assignment(key, state.tip or _base(state), prompt))
    nothing = Replanned(effect.round, Plan(state.goal))
    if not isinstance(report, Handed):
        return nothing
    try:
        plan = plan_of(
            report.answer, goal=state.goal, roles=writing_roles(office), known=tasks, max_tasks=state.rules.max_tasks
        )
    except PlanError as error:
        office.tell("replan.refused", {"round": effect.round, "reason": str(error)})
        return nothing
    return Replanned(effect.round, _only_fixes(plan, effect.findings))


def _only_fixes(plan: Plan, findings: Sequence[Finding]) -> Plan:
    """Keep the tasks that fix a finding, and what they wait for; ideas beside them go to Later."""
    wanted = {finding.id for finding in findings}
    kept = {task.id for task in plan.tasks if wanted.intersection(task.fixes)}
    by_id = {task.id: task for task in plan.tasks}
    todo = list(kept)
    while todo:
        for dep in by_id[todo.pop()].deps:
            if dep in by_id and dep not in kept:
                kept.add(dep)
                todo.append(dep)
    beside: list[Task] = [task for task in plan.tasks if task.id not in kept]
    later = (*plan.later, *(task.title for task in beside))
    return replace(plan, tasks=tuple(task for task in plan.tasks if task.id in kept), later=later)


def _base(state: RunState) -> CommitId:
    if state.base is None:
        raise PlanError("the run has no base commit yet")
    return state.base


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""


def _objects(value: JSONValue) -> list[JSONObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
