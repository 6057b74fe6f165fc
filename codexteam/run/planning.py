"""Before the work: the base commit, the scouts, the plan; and later the tasks that fix findings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.config.settings import StepMode
from codexteam.config.team import writing_roles
from codexteam.core.answers import PlanAnswer, ScoutReport
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.code_words import path_scores, search_words
from codexteam.core.documentation import with_documentation
from codexteam.core.effects import MakePlan, Replan, Scout
from codexteam.core.events import Event, Planned, PlanningFailed, Replanned, RunPrepared, Scouted
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, Purpose
from codexteam.core.plan_answer import plan_of
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.state import RunState, TaskPhase
from codexteam.core.task_budgets import with_shares
from codexteam.errors import PlanError, RepoError
from codexteam.ports.repo import Repo
from codexteam.run import prompts
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment
from codexteam.run.code_index import CodeIndex
from codexteam.run.code_search import map_for
from codexteam.run.context import RunContext, refused
from codexteam.run.map_ranking import MOST_WORDS
from codexteam.run.remembered import CiCommands, GoalReading, ReviewedChange, ScoutAreas, ScoutsText
from codexteam.run.scout_areas import ScoutArea, areas_of
from codexteam.run.scout_memory import RecalledReports, ScoutMemory
from codexteam.system.cancellation import together
from codexteam.system.fault_points import reach

#: What the orchestrator gets to read of the scouts' reports.
_SCOUT_CHARS = 40_000
#: Of that, the most that reports of earlier runs take, and what reports leave to the index of files, if it has as much.
_REMEMBERED_CHARS = 12_000
_INDEX_CHARS = 12_000


async def prepare(context: RunContext, goal: str = "") -> Event:
    """Bring the base commit into the hub, point the integration branch to it, and make the sandboxes' base ready."""
    base = context.base
    change = await context.recall("review", "change", ReviewedChange)
    if change is not None:
        head = await _reviewed_head(context, change)
        waived = await _still_waived(context, change, head)
        prepared = RunPrepared(base, head, change.judged_before, change.known, waived)
    else:
        prepared = RunPrepared(base)
    await context.repo.fetch_base(context.run_id, base)
    if await context.repo.branch_tip(context.run_id) is None:
        await context.repo.update_branch(context.run_id, base, None)
    source = await context.repo.base_source(context.run_id, base)
    reach("sandbox.prepare.before")
    await context.engine.prepare(source, on_progress=lambda line: context.report("sandbox.progress", {"line": line}))
    reach("sandbox.prepare.after")
    if context.environments is not None:
        context.environments.begin()  # beside scouts and planning
    if context.code_map is not None:
        context.code_map.begin(base, goal)
    return prepared


async def put_in_place(repo: Repo, state: RunState) -> None:
    """Give a run that was made of another one its branch in the hub; may be repeated.

    Raises:
        RepoError: the commits are not there.
    """
    if state.base is None or state.tip is None or await repo.branch_tip(state.run_id) is not None:
        return
    await repo.fetch_base(state.run_id, state.base)
    await repo.tree_of(state.tip)
    await repo.update_branch(state.run_id, state.tip, None)


async def _still_waived(context: RunContext, change: ReviewedChange, head: CommitId) -> tuple[Finding, ...]:
    """Return what stays waived: a person looked at a file as it was, and not at what has become of it."""
    before = change.judged_before
    if not change.waived or before is None:
        return ()
    try:
        changed = {one.path for one in await context.repo.changes(before, head)}
    except RepoError:  # the review before was cleaned, and its commit is gone
        return ()
    return tuple(
        one for one in change.waived if one.file and one.file.encode("utf-8", "surrogateescape") not in changed
    )


async def _reviewed_head(context: RunContext, change: ReviewedChange) -> CommitId:
    """Bring what a review judges into the hub, once: uncommitted work is judged as it is at this moment."""
    known = await context.repo.branch_tip(context.run_id)
    if known is not None:
        return known
    await context.repo.fetch_base(context.run_id, change.head or context.base)
    head = change.head
    if head is None:
        author = await context.author("user", "uncommitted")
        head = await context.repo.commit_work_tree(context.base, "Uncommitted changes", author)
    await context.repo.update_branch(context.run_id, head, None)
    return head


@dataclass(frozen=True, slots=True)
class _Scouted:
    number: int
    area: str
    report: ScoutReport | None
    problem: str = ""
    refusal: AgentFailure | None = None
    """That a budget did not hold its next call."""


#: The number after which scouts of a second round are counted where a run of an older version did not count the first.
_UNCOUNTED = 100


async def scout(context: RunContext, effect: Scout, state: RunState) -> Event:
    """Let explorers look, each at one part; what earlier runs know of unchanged files is not asked for again.

    In a second round they look at what the planner asked for, and what they find is added.
    """
    base = _base(state)
    index = CodeIndex(context.store)
    files = await context.repo.list_files(base)
    before = await context.recall("scouts", "report", ScoutsText) if effect.areas else None
    counted = before.scouts if before else None
    first = 1 if not effect.areas else 1 + (_UNCOUNTED if counted is None else counted)
    memory = ScoutMemory(context.store)
    recalled = await memory.recall(files, state.goal)
    areas = [ScoutArea(f"{area} (the planner asks for it)") for area in effect.areas] or await _areas_of(
        context, index, files, state.goal, recalled
    )
    found = await together(
        *(_scout(context, base, state.goal, n, area.words) for n, area in enumerate(areas, start=first))
    )
    refusals = [scouted.refusal for scouted in found if scouted.refusal is not None]
    if refusals:  # scouts that have reported are not asked again on resume
        return refused(effect, refusals[0])
    reports = [(scouted, scouted.report) for scouted in found if scouted.report is not None]
    blobs = {path: blob for path, _, blob in files}
    known_ci = await context.recall("scouts", "ci", CiCommands) if effect.areas else None
    commands = [*known_ci.commands] if known_ci else []
    used = [] if effect.areas else [one for one in recalled.reports if one.area not in {area.words for area in areas}]
    commands += [command for one in used for command in one.ci]
    for scouted, report in reports:
        await index.learn(report.files, blobs)
        area = areas[scouted.number - first]
        await memory.keep(report, area.words, files, goal=state.goal, sent=area.files, about_build=area.about_build)
        commands += [command for entry in report.ci if (command := entry.command.strip())]
    await context.remember("scouts", "ci", CiCommands(tuple(dict.fromkeys(commands))))
    text = "\n\n".join(_report_text(scouted, report) for scouted, report in reports)
    if used:
        found_before = f"{len(used)} report{'s' if len(used) > 1 else ''} of earlier runs"
        context.report(
            "notice", {"text": f"scouts: {found_before} still count, since the files they rest on are unchanged"}
        )
    remembered = "\n\n".join(
        f"A scout of an earlier run ({one.area}), whose goal was {one.goal!r}:\n{one.summary}" for one in reversed(used)
    )[:_REMEMBERED_CHARS]
    earlier = before.text.partition(_FILES)[0].strip() if before else ""
    # what the goal is about stands first: of a large repository not all of it reaches the planner
    scores = path_scores([path for path, _, _ in files], search_words(state.goal, most=MOST_WORDS), state.goal)
    known = await index.describe(sorted(files, key=lambda file: (-scores.get(file[0], 0.0), file[0])))
    whole = "\n\n".join(part for part in (text, remembered, earlier) if part)
    count = first - 1 + len(areas)
    reported = whole[: _SCOUT_CHARS - len(_FILES) - min(len(known), _INDEX_CHARS)]
    await context.remember("scouts", "report", ScoutsText(f"{reported}{_FILES}{known}"[:_SCOUT_CHARS], count))
    problems = tuple(f"scout {scouted.number}: {scouted.problem}" for scouted in found if scouted.report is None)
    probes = [" ".join(probe.split()) for _, report in reports for probe in report.next_probes]
    return Scouted(problems, tuple(dict.fromkeys(probe for probe in probes if probe)))


#: Where the index of files begins in what the planner reads.
_FILES = "\n\nFiles:\n"


def _report_text(scouted: _Scouted, report: ScoutReport) -> str:
    probes = "".join(f"\n- {' '.join(probe.split())}" for probe in report.next_probes)
    return f"Scout {scouted.number} ({scouted.area}):\n{report.summary}" + (
        f"\nIt would look next at:{probes}" if probes else ""
    )


async def _areas_of(
    context: RunContext,
    index: CodeIndex,
    files: Sequence[tuple[bytes, str, str]],
    goal: str,
    recalled: RecalledReports,
) -> list[ScoutArea]:
    most = context.settings.team.limits.max_scouts
    if context.settings.team.steps.scouts is StepMode.ALWAYS:
        areas = areas_of([path for path, _, _ in files], len(files), most, goal, everywhere=True)
    else:
        sent = {path for path, _, blob in files if recalled.was_sent_to(blob)}
        unknown = [path for path in await index.unknown(files) if path not in sent]
        areas = areas_of(unknown, len(files), most, goal, knows_build=recalled.knows_build)
    begun = await context.recall("scouts", "areas", ScoutAreas)
    if begun is None:
        about_build = tuple(area.about_build for area in areas)
        await context.remember("scouts", "areas", ScoutAreas(tuple(area.words for area in areas), about_build))
        return areas
    # some may have reported before a crash, which changed what is unknown
    fresh = {area.words: area for area in areas}
    return [
        fresh.get(words, ScoutArea(words, about_build=about_build))
        for words, about_build in zip(begun.words, begun.about_build, strict=True)
    ]


async def _scout(context: RunContext, base: CommitId, goal: str, number: int, area: str) -> _Scouted:
    key = context.key(Purpose.SCOUT, attempt=number)
    match await context.agents.run(Assignment(key, base, prompts.scout(goal, area), ScoutReport)):
        case AgentAnswer(answer=answer):
            return _Scouted(number, area, answer)
        case AgentFailure(reason=reason, budget_scope=budget_scope) as report:
            return _Scouted(number, area, None, reason, None if budget_scope is None else report)


async def make_plan(context: RunContext, effect: MakePlan, state: RunState) -> Event:
    """Let the orchestrator plan; a plan that does not hold goes back with the reasons."""
    report_of_scouts = await context.recall("scouts", "report", ScoutsText)
    scouts = report_of_scouts.text if report_of_scouts else ""
    reading = await _reading(context, effect, state, scouts)
    if isinstance(reading, AgentFailure):
        return refused(effect, reading)
    if reading.questions and effect.attempt == 1:
        return Planned(Plan(state.goal, reading.text, questions=reading.questions))
    may_probe = state.rules.scout and state.scout_rounds < _SCOUT_ROUNDS
    key = context.key(Purpose.PLAN, attempt=effect.attempt)
    prompt = prompts.plan(
        state.goal,
        scouts=scouts,
        feedback=effect.feedback,
        roles=writing_roles(context.settings),
        max_tasks=state.rules.max_tasks,
        reading=reading.text,
        may_probe=may_probe,
        earlier=[known.task for known in state.tasks.values() if known.phase is not TaskPhase.DROPPED],
        repositories=state.rules.repositories,
        code_map=await map_for(context, key, _base(state), state.goal),
    )
    match await context.agents.run(Assignment(key, _base(state), prompt, PlanAnswer, messages=state.planner_mail)):
        case AgentFailure(budget_scope=BudgetScope()) as report:
            return refused(effect, report)
        case AgentFailure(reason=reason):
            return PlanningFailed(reason)
        case AgentAnswer(answer=answer):
            return _planned(context, answer, state, may_probe=may_probe)


#: Rounds of scouting: the first, and one more where the planner asks for it.
_SCOUT_ROUNDS = 2

#: With `analyst = "auto"` a goal of fewer words than this is read by the requirement analyst first.
_VAGUE_WORDS = 6

_ANALYST = "requirement_analyst"


async def _reading(context: RunContext, effect: MakePlan, state: RunState, scouts: str) -> GoalReading | AgentFailure:
    """Let the requirement analyst read a goal once, before the first plan; later plans get the same reading.

    Gives a refusal by a budget as it is.
    """
    known = await context.recall("scouts", "reading", GoalReading)
    if known is not None:
        return known
    mode = context.settings.team.steps.analyst
    wanted = mode is StepMode.ALWAYS or (mode is StepMode.AUTO and len(state.goal.split()) < _VAGUE_WORDS)
    if effect.attempt > 1 or not wanted or _ANALYST not in context.settings.roles:
        return GoalReading("")
    key = context.key(Purpose.SCOUT, attempt=1, role=_ANALYST)
    prompt = prompts.reading(state.goal, scouts=scouts)
    match await context.agents.run(Assignment(key, _base(state), prompt, ScoutReport)):
        case AgentAnswer(answer=answer):
            asked = answer.questions if answer.questions is not None else questions_in(answer.summary)
            questions = tuple(line for each in asked if (line := " ".join(each.split())))
            reading = GoalReading(answer.summary, questions)
            await context.remember("scouts", "reading", reading)
            return reading
        case AgentFailure(budget_scope=BudgetScope()) as report:
            return report
        case AgentFailure(reason=reason):
            context.report("notice", {"text": f"the requirement analyst gave no reading of the goal: {reason}"})
            return GoalReading("")


_QUESTIONS = re.compile(r"^\W*questions?\W*$", re.IGNORECASE)
_LISTED = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s*")


def questions_in(summary: str) -> tuple[str, ...]:
    """Return the questions under the heading `Questions`, where a server let the model leave their field out."""
    lines = iter(summary.splitlines())
    if not any(_QUESTIONS.fullmatch(line) for line in lines):  # stands behind the heading then
        return ()
    found: list[str] = []
    for line in lines:
        text = _LISTED.sub("", line).strip()
        if not text:
            continue
        if not text.endswith("?"):
            break
        found.append(text)
    return tuple(found)


def _planned(context: RunContext, answer: PlanAnswer, state: RunState, *, may_probe: bool) -> Planned | PlanningFailed:
    roles = writing_roles(context.settings)
    try:
        plan = plan_of(
            answer,
            goal=state.goal,
            roles=roles,
            max_tasks=state.rules.max_tasks,
            may_probe=may_probe,
            repositories=state.rules.repositories,
        )
    except PlanError as error:
        return PlanningFailed(str(error))
    # a task works in one repository: what several ask for is written by the last step
    if context.settings.team.steps.documentation is not StepMode.OFF and not state.rules.repositories:
        plan = with_documentation(plan, roles)
    return Planned(replace(plan, tasks=with_shares(plan.tasks, context.settings.team.budget)))


async def replan(context: RunContext, effect: Replan, state: RunState) -> Event:
    """Let the orchestrator turn findings into tasks; what it leaves out, or gets wrong, `step` makes a task of."""
    tasks = [known.task for known in state.tasks.values()]
    numbers = [int(task.id[1:]) for task in tasks if task.id[1:].isdigit()]
    prompt = prompts.replan(
        state.goal,
        tasks,
        effect.findings,
        next_id=f"T{max(numbers, default=0) + 1}",
        roles=writing_roles(context.settings),
        said=effect.said,
        repositories=state.rules.repositories,
    )
    key = context.key(Purpose.REPLAN, attempt=effect.round)
    assignment = Assignment(key, state.tip or _base(state), prompt, PlanAnswer, messages=state.planner_mail)
    report = await context.agents.run(assignment)
    if isinstance(report, AgentFailure) and report.budget_scope is not None:
        return refused(effect, report)
    nothing = Replanned(effect.round, Plan(state.goal))
    if not isinstance(report, AgentAnswer):
        return nothing
    try:
        plan = plan_of(
            report.answer,
            goal=state.goal,
            roles=writing_roles(context.settings),
            known=tasks,
            max_tasks=state.rules.max_tasks,
            repositories=state.rules.repositories,
        )
    except PlanError as error:
        context.report("replan.refused", {"round": effect.round, "reason": str(error)})
        return nothing
    fixes = _only_fixes(plan, effect.findings)
    shared = with_shares(fixes.tasks, context.settings.team.budget, known=tasks)
    return Replanned(effect.round, replace(fixes, tasks=shared))


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
