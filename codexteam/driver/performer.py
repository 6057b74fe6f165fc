"""Performs a run's effects over the ports: which module does what, and what the user gets to see of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from codexteam.agent.office import Office
from codexteam.core.draft import status_of
from codexteam.core.effects import (
    AskPerson,
    Awaited,
    Clarify,
    Document,
    Integrate,
    IntegrateExtra,
    Land,
    MakePlan,
    Prepare,
    Release,
    Replan,
    RunGate,
    Scout,
    Work,
    WritePlan,
)
from codexteam.core.events import Event, GateFinished
from codexteam.core.findings import GateName
from codexteam.core.ids import CommitId, branch_name
from codexteam.core.json_types import JSONObject
from codexteam.core.plan import Plan
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
from codexteam.core.redaction import Redactor
from codexteam.core.state import FindingStatus, RunState
from codexteam.core.story import numbered_story
from codexteam.driver import attempts, finishing, integrating, planning
from codexteam.driver.loop import Seen
from codexteam.driver.shown_plan import is_edited, note_shown, was_shown
from codexteam.errors import PlanError
from codexteam.gates import ci, qa, review


class TeamPerformer:
    """The Performer of a real run."""

    def __init__(self, office: Office, base: CommitId, *, also: Callable[[Event], None]) -> None:
        """Work for `office` from `base`. `also` takes events that come beside an effect's own, before it."""
        self._office = office
        self._base = base
        self._also = also
        self._plan_file = asyncio.Lock()
        self._newest: RunState | None = None
        self._left_alone = ""  # why plan.md is, as the user was told

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        """Do it, and say what happened."""
        *before, event = await self._events(effect, state)
        for extra in before:
            self._also(extra)
        return event

    async def _events(self, effect: Awaited, state: RunState) -> tuple[Event, ...]:  # noqa: C901 - one arm an effect
        office = self._office
        match effect:
            case Prepare():
                return (await planning.prepare(office, self._base),)
            case Scout():
                return await planning.scout(office, state)
            case MakePlan():
                return await planning.make_plan(office, effect, state)
            case Work():
                return await attempts.work(office, effect, state)
            case Clarify():
                return (await attempts.clarify(office, effect, state),)
            case Integrate():
                return (await integrating.integrate(office, effect, state),)
            case IntegrateExtra():
                return (await integrating.integrate_extra(office, effect, state),)
            case RunGate():
                return (await self._gate(effect, state),)
            case Replan():
                return (await planning.replan(office, effect, state),)
            case Document():
                return (await finishing.document(office, effect, state),)
            case Release():
                return (await finishing.release(office, effect, state),)
            case Land():
                return (await finishing.land(office, effect),)

    async def _gate(self, effect: RunGate, state: RunState) -> GateFinished:
        match effect.gate:
            case GateName.CI:
                return await ci.run(self._office, effect, state)
            case GateName.REVIEW:
                return await review.review(self._office, effect, state)
            case GateName.SECURITY:
                return await review.security(self._office, effect, state)
            case GateName.QA:
                return await qa.run(self._office, effect, state)

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        """Write plan.md, or put a question into the inbox."""
        match effect:
            case WritePlan():
                self._newest = state
                async with self._plan_file:  # one version after the other
                    # a newer one that waits shows all that this one would
                    if state is self._newest:
                        await self._write_plan(state)
            case AskPerson(item, question, task_id):
                asked: JSONObject = {"question": question, "task": task_id, "at": self._office.clock.wall_seconds()}
                await self._office.remember("inbox", item, asked)

    async def _write_plan(self, state: RunState) -> None:
        office = self._office
        text = office.files.read_plan()
        while True:
            try:
                document = await self._document(text, state)
            except PlanError as error:
                # an edit, or one under way: it is the user's, and is read when the run goes on the next time
                if self._left_alone != (reason := str(error)):
                    office.tell("plan.unreadable", {"reason": reason})
                self._left_alone = reason
                return
            self._left_alone = ""
            # as it will stand on disk, to know it again
            new = Redactor(office.secret_values).redact(render(with_progress(document, state, _header(state))))
            if new == text:
                return
            await note_shown(office.store, state.run_id, on_disk=text, text=new, plan=plan_of_state(state))
            text, before = office.files.read_plan(), text
            if text == before:  # not saved by an editor meanwhile
                office.files.write_plan(new)
                return

    async def _document(self, text: str | None, state: RunState) -> PlanDocument:
        """Give what the run's progress is written into.

        Raises:
            PlanError: the file is not to be written over.
        """
        store, run_id = self._office.store, state.run_id
        if text is None or not text.strip():
            return new_document(plan_of_state(state), _header(state))
        document = parse(text)
        named = document.run_named()
        begun_with = named != run_id and await was_shown(store, run_id, text)
        if named is None and not begun_with:
            raise PlanError(f"its line `{_header(state).render()}` is gone")
        if begun_with:
            return document if named else with_header(document, _header(state))
        if named != run_id:
            return taken_over(document, plan_of_state(state), _header(state))
        if await is_edited(store, run_id, text):
            raise PlanError(
                "it was edited while the run is at work; once that has ended, codexteam resume takes the edit"
            )
        return document

    def saw(self, seen: Seen) -> None:
        """Tell the user's views what was decided."""
        for kind, fields in numbered_story(seen.number, seen.event, seen.before, seen.after, seen.effects):
            self._office.tell(kind, fields)


def _header(state: RunState) -> Header:
    return Header(state.run_id, state.base or "", branch_name(state.run_id))


def plan_of_state(state: RunState) -> Plan:
    """Give the plan as plan.md shows it: the tasks with their marks."""
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
    return update(document, plan, header, done=[*done, *fixed], next_up=[*waits, *next_up])
