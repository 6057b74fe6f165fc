"""What people decide: answers, approvals, edits of plan.md."""

from dataclasses import replace

from codexteam.core.dispatch import APPROVED, replan
from codexteam.core.draft import Draft
from codexteam.core.effects import Land, Result
from codexteam.core.events import Answered
from codexteam.core.findings import Category
from codexteam.core.ids import TaskId
from codexteam.core.plan import Plan, TaskStatus
from codexteam.core.state import TERMINAL, FindingStatus, Hold, RunPhase, RunState, TaskPhase
from codexteam.core.text import count_of
from codexteam.errors import InvalidTransitionError

#: Stands for what is to be planned anew, where the user wants none of it.
DECLINED = "declined"

#: The most that a planner gets to read of what the user said before; the newest matters most.
CORRECTIONS_CHARS = 24_000

#: How a correction begins.
_SAID = "The user says: "


def plan_waits(state: RunState) -> bool:
    """Say whether a plan waits to be approved that was not declined: going on with a run only planned approves it."""
    return "plan" in state.holds and state.plan_feedback != DECLINED


def answer(draft: Draft, event: Answered) -> None:
    """Take in a person's answer to something that waits.

    Raises:
        InvalidTransitionError: nothing of that name waits.
    """
    holds = dict(draft.state.holds)
    try:
        hold = holds.pop(event.item)
    except KeyError:
        waiting = ", ".join(sorted(holds)) or "nothing"
        raise InvalidTransitionError(f"an answer to {event.item}: what waits is {waiting}") from None
    draft.set(holds=holds)
    if event.item in {"plan", "plan-questions"}:
        asked = f"\n(to your questions: {hold.question})" if event.item == "plan-questions" else ""
        _answer_plan(draft, event, asked)
    elif event.item.startswith("rounds."):
        _answer_rounds(draft, event)
    elif hold.task_id is not None:
        _answer_task(draft, event, hold, hold.task_id)


def _answer_plan(draft: Draft, event: Answered, asked: str) -> None:
    if event.item == "plan" and event.approved:
        draft.set(phase=RunPhase.WORKING, plan_feedback="")
    elif event.approved or event.text:
        _correct_plan(draft, f"{_SAID}{event.text}{asked}")
    else:
        reason = "the plan was declined" if event.item == "plan" else "the questions to the plan were declined"
        draft.set(plan_feedback=DECLINED)
        draft.wind_down(Result.NOT_GREEN, reason)
        if draft.state.result is not None:  # nobody drives the run: this is how it ended
            draft.set(result=Result.NOT_GREEN, result_reason=reason)


def _correct_plan(draft: Draft, correction: str) -> None:
    """Let the planner try again, told all that the user said so far, the newest last."""
    state = draft.state
    known = state.plan_corrections
    if not known and state.plan_feedback.startswith(_SAID):
        known = (state.plan_feedback,)  # of a version that kept the newest alone
    kept = [_clipped(correction)]
    for older in reversed(known):
        if sum(map(len, kept)) + len(older) > CORRECTIONS_CHARS:
            break
        kept.insert(0, older)
    draft.set(phase=RunPhase.PLANNING, plan_corrections=tuple(kept), plan_feedback="\n\n".join(kept))


def _clipped(text: str) -> str:
    left_out = len(text) - CORRECTIONS_CHARS
    return text if left_out <= 0 else f"{text[:CORRECTIONS_CHARS]}\n[{left_out} characters left out]"


def ask_again(draft: Draft) -> None:
    """Put a plan that was declined before its user once more, when the run goes on all the same."""
    if draft.state.phase is not RunPhase.APPROVING or draft.state.plan_feedback != DECLINED:
        return
    if draft.tasks:
        draft.ask("plan", f"This plan of {count_of(len(draft.tasks), 'task')} was declined. Work on it after all?")
    else:  # its questions were declined: planning begins anew, and may ask again
        feedback = (*draft.state.plan_corrections, "The user does not answer questions; decide, and say so.")
        draft.set(phase=RunPhase.PLANNING, plan_feedback="\n\n".join(feedback))


def _answer_rounds(draft: Draft, event: Answered) -> None:
    word, *names = event.text.replace(",", " ").split() or [""]
    if word == "waive":
        _waive(draft, names)
    elif not event.approved:
        draft.wind_down(Result.NOT_GREEN, "a person decided not to go on with open findings")
        return
    rules = draft.state.rules
    draft.set(round_limit=draft.state.round + rules.max_rounds, weights=())
    for known in draft.open_findings():
        draft.put_finding(replace(known, times=1))
    replan(draft)


def _waive(draft: Draft, names: list[str]) -> None:
    for known in draft.open_findings():
        named = known.finding.id in names
        # security findings are waived by name only: "waive" alone may be a reflex
        if named or (not names and known.finding.category is not Category.SECURITY):
            draft.put_finding(replace(known, status=FindingStatus.WAIVED))


def _answer_task(draft: Draft, event: Answered, hold: Hold, task_id: TaskId) -> None:
    known = draft.tasks[task_id]
    if known.phase is not TaskPhase.ON_HOLD:
        return  # the task was dropped from the plan while the question waited
    if event.item.startswith("merge."):
        if event.approved:
            draft.move(task_id, TaskPhase.QUEUED, event, reason=APPROVED)
            draft.set(merge_queue=(*draft.state.merge_queue, task_id))
        elif event.text:
            evidence = f"{known.evidence}\n\nThe user did not take this work: {event.text}".strip()
            draft.move(task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=known.attempt)
        else:
            draft.move(task_id, TaskPhase.FAILED, event, reason="its merge was not approved")
        return
    evidence = f"{known.evidence}\n\nAsked: {hold.question}\nThe user's answer: {event.text}".strip()
    draft.move(task_id, TaskPhase.PENDING, event, evidence=evidence, restore_attempt=known.attempt, reason="")


def edit_plan(draft: Draft, plan: Plan) -> None:
    """Take in an edited plan.md: new and changed tasks, dropped ones, and failed ones that are to be tried again.

    Tasks that work or are merged stay as they are. A green run that has tasks again is green no more.

    Raises:
        PlanError: the plan does not hold together.
    """
    kept = {task.id for task in plan.tasks if task.status is not TaskStatus.DROPPED}
    for task_id, known in list(draft.tasks.items()):
        over = known.phase in TERMINAL - {TaskPhase.FAILED, TaskPhase.BLOCKED}
        if task_id not in kept and not over and known.phase in _DROPPABLE:
            draft.drop(task_id, "taken out of plan.md")
    draft.set_tasks(task for task in plan.tasks if task.id in kept)
    for task in plan.tasks:
        if task.status is TaskStatus.TODO and draft.tasks[task.id].phase is TaskPhase.FAILED:
            draft.retry(task.id)
    draft.set(later=plan.later, risks=plan.risks)
    if any(known.phase not in {TaskPhase.MERGED, TaskPhase.DROPPED} for known in draft.tasks.values()):
        _work_again(draft)
    if draft.state.phase is RunPhase.APPROVING and draft.state.plan_feedback == DECLINED:
        draft.set(plan_feedback="")
        draft.ask("plan", f"Work on this plan of {count_of(len(kept), 'task')}, as you edited it?")


def _work_again(draft: Draft) -> None:
    """Let a run that was at its end work on tasks that it has again; its documentation and notes are written once."""
    if draft.state.phase is RunPhase.LANDING:  # what waits to be put into the repository is not all any more
        draft.set(phase=RunPhase.WORKING)
        for key, effect in list(draft.in_flight.items()):
            if isinstance(effect, Land):
                del draft.in_flight[key]
    elif draft.state.result is Result.GREEN:
        why = "plan.md was edited after it was green"
        draft.set(phase=RunPhase.WORKING, result=Result.INTERRUPTED, result_reason=why)


_DROPPABLE = {TaskPhase.PENDING, TaskPhase.BLOCKED, TaskPhase.FAILED, TaskPhase.ON_HOLD}
