"""Performs a run's effects over the ports: which module does what, and what the user gets to see of it."""

import asyncio
from dataclasses import replace

from codexteam.core.effects import (
    AdvanceBranch,
    AskPerson,
    Awaited,
    CheckBase,
    CheckCandidate,
    Clarify,
    Document,
    Integrate,
    IntegrateExtra,
    JudgeAttempts,
    Land,
    MakePlan,
    Prepare,
    Release,
    Replan,
    RunGate,
    Scout,
    StackCandidate,
    TryAttempt,
    Work,
    WriteHiddenTests,
    WritePlan,
)
from codexteam.core.events import Event, GateFinished
from codexteam.core.ids import GateName, branch_name
from codexteam.core.plan_graph import Plan
from codexteam.core.plan_md import (
    Header,
    PlanDocument,
    new_document,
    parse,
    render,
    taken_over,
    update,
    with_header,
)
from codexteam.core.state import FindingStatus, RunState, status_of
from codexteam.errors import PlanError
from codexteam.run import attempts, contests, finishing, integrating, planning
from codexteam.run.context import RunContext
from codexteam.run.gates import base_commit, ci, qa, review, scan
from codexteam.run.history import forecast_fields, forecast_of, made_for, over_budget
from codexteam.run.plan_versions import is_edited, note_shown, was_shown
from codexteam.run.remembered import AskedPerson, ForecastPlan


class RunEffectHandler:
    """The EffectHandler of a real run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._plan_file = asyncio.Lock()
        self._newest: RunState | None = None
        self._written: tuple[str, PlanDocument] | None = None  # plan.md as this session last wrote it, and read
        self._left_alone = ""  # why plan.md was left alone, as last reported

    async def perform(self, effect: Awaited, state: RunState) -> Event:  # noqa: C901, PLR0912 - one arm an effect
        """Do it, and say what happened."""
        context = self._context
        match effect:
            case Prepare():
                return await planning.prepare(context, state.goal)
            case CheckBase():
                return await base_commit.check_base(context, effect, state)
            case Scout():
                return await planning.scout(context, effect, state)
            case MakePlan():
                return await planning.make_plan(context, effect, state)
            case Work():
                return await attempts.work(context, effect, state)
            case WriteHiddenTests():
                return await contests.write_tests(context, effect, state)
            case TryAttempt():
                return await contests.try_attempt(context, effect, state)
            case JudgeAttempts():
                return await contests.judge(context, effect, state)
            case Clarify():
                return await attempts.clarify(context, effect, state)
            case StackCandidate():
                return await integrating.stack(context, effect, state)
            case CheckCandidate():
                return await integrating.check(context, effect, state)
            case AdvanceBranch():
                return await integrating.advance(context, effect, state)
            case Integrate():
                return await integrating.integrate(context, effect, state)
            case IntegrateExtra():
                return await integrating.integrate_extra(context, effect, state)
            case RunGate():
                return await self._judged(effect, state)
            case Replan():
                return await planning.replan(context, effect, state)
            case Document():
                return await finishing.document(context, effect, state)
            case Release():
                return await finishing.release(context, effect, state)
            case Land():
                return await finishing.land(context, effect)

    async def _judged(self, effect: RunGate, state: RunState) -> Event:
        finished = await self._gate(effect, state)
        if not isinstance(finished, GateFinished) or state.base is None:
            return finished
        repo = self._context.repo
        unchanged = await repo.tree_of(effect.commit) == await repo.tree_of(state.base)
        return replace(finished, unchanged=unchanged)

    async def _gate(self, effect: RunGate, state: RunState) -> Event:
        match effect.gate:
            case GateName.CI:
                return await ci.run(self._context, effect, state)
            case GateName.SCAN:
                return await scan.run(self._context, effect, state)
            case GateName.REVIEW:
                return await review.review(self._context, effect, state)
            case GateName.SECURITY:
                return await review.security(self._context, effect, state)
            case GateName.QA:
                return await qa.run(self._context, effect, state)

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        """Write plan.md, or put a question into the inbox."""
        match effect:
            case WritePlan():
                self._newest = state
                async with self._plan_file:  # one version after the other
                    # a newer one that waits shows all that this one would
                    if state is self._newest:
                        await self._write_plan(state)
                        await self.forecast(state)
            case AskPerson(item, question, task_id):
                asked = AskedPerson(question, task_id, self._context.clock.wall_seconds())
                await self._context.remember("inbox", item, asked)

    async def forecast(self, state: RunState) -> None:
        """Say what the run will take, as soon as there is a plan, and again where the plan is changed before any work."""
        plan = made_for(state)
        context = self._context
        if plan is None or (made := ForecastPlan(tuple(plan))) == await context.recall(
            "forecast", "plan", ForecastPlan
        ):
            return
        found = await forecast_of(context.store, context.settings, state)
        context.report("forecast.made", forecast_fields(found))
        if over := over_budget(found, context.settings):
            context.report("notice", {"text": f"the run is expected to need more than its budget: {over}"})
        await context.remember("forecast", "plan", made)

    async def _write_plan(self, state: RunState) -> None:
        context = self._context
        text = context.files.read_plan()
        while True:
            try:
                document = await self._document(text, state)
            except PlanError as error:
                # an edit, perhaps unfinished: it is the user's, and is read when the run is resumed
                if self._left_alone != (reason := str(error)):
                    context.report("plan.unreadable", {"reason": reason})
                self._left_alone = reason
                return
            self._left_alone = ""
            # as it will stand on disk, to know it again
            new = context.redactor.redact(render(with_progress(document, state, _header(state))))
            if new == text:
                return
            shown = await note_shown(context.store, state.run_id, on_disk=text, text=new, plan=plan_of_state(state))
            text, before = context.files.read_plan(), text
            if text == before:  # not saved by an editor meanwhile
                context.files.write_plan(new)
                self._written = None if shown is None else (new, shown)
                return

    async def _document(self, text: str | None, state: RunState) -> PlanDocument:
        """Return what the run's progress is written into.

        Raises:
            PlanError: the file is not to be written over.
        """
        if self._written is not None and text == self._written[0]:
            return self._written[1]
        store, run_id = self._context.store, state.run_id
        if text is None or not text.strip():
            return new_document(plan_of_state(state), _header(state))
        document = parse(text)
        named = document.run_named()
        begun_with = named != run_id and await was_shown(store, run_id, text)
        if named is None and not begun_with:
            raise PlanError(f"its line `{_header(state).render()}` is missing")
        if begun_with:
            return document if named else with_header(document, _header(state))
        if named != run_id:
            return taken_over(document, plan_of_state(state), _header(state))
        if await is_edited(store, run_id, text):
            raise PlanError(
                "it was edited while the run is at work; once that has ended, codexteam resume takes the edit"
            )
        return document


def _header(state: RunState) -> Header:
    return Header(state.run_id, state.base or "", branch_name(state.run_id))


def plan_of_state(state: RunState) -> Plan:
    """Return the plan as plan.md shows it: the tasks with their marks."""
    tasks = tuple(replace(known.task, status=status_of(known.phase)) for known in state.tasks.values())
    return Plan(state.goal, state.summary, tasks, state.later, state.risks)


def with_progress(document: PlanDocument, state: RunState, header: Header) -> PlanDocument:
    """Put a run's progress into a document: marks, what is done, what is next."""
    plan = plan_of_state(state)
    done = [f"{task.id} {task.title}" for task in plan.tasks if task.status.name == "DONE"]
    fixed = [
        f"{known.finding.id} {known.finding.title}"
        for known in state.findings.values()
        if known.status is FindingStatus.FIXED
    ]
    waits = [f"{item}: {hold.question.splitlines()[0] if hold.question else ''}" for item, hold in state.holds.items()]
    next_up = [f"{task_id} {state.tasks[task_id].task.title}" for task_id in state.ready[:5]]
    failing = [
        f"the gate command `{one.command}` fails: {one.reason}"
        for record in state.gates.values()
        for one in record.failing
    ]
    return update(document, plan, header, done=[*done, *fixed], next_up=[*waits, *failing, *next_up])
