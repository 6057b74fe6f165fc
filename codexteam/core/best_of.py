"""Best of n: a hard task is tried several times at once, and the best of these attempts goes to the merge train.

How it works
------------
Where `rules.best_of` is 2 or more, a task that the plan marks `risk: high`, or of which an attempt has failed, has a
*contest* in place of its next attempt; once. Its contenders are ordinary attempts with numbers of their own, under other
models or with other words. They begin on the same commit, as threads come free, and do not see each other.

1. *Hidden tests.* QA writes tests from the task alone, beside the contenders; where its gate is off, or the task owes no
   tests, there are none. Who hands in before QA does waits for it.
2. *Trial.* We run the acceptance commands, the hidden tests and the scan on what each hands in.
3. *The first whose work passes everything wins*, and the others end at once.
4. Where none does, the best is the one of whose work least failed; then the smallest change, but for one that changes
   nothing; among changes of a size a judge with another model chooses, and without its word it is the smallest all the same.
   If acceptance fails even of the best, the contest counts as one failed attempt, and the next one continues from it.

A contender that fails, asks, or is refused by a budget is out while there are others. The last one, where nothing was handed
in, is an ordinary attempt from there on: it is tried again, answered, or waits for budget like any other.

What must hold
--------------
- One contender's work at most reaches the train, under its own attempt; the work of the others stays where it is kept.
- No contender starts beside more agents than there are threads, and each call of one is reserved like any other.
- What ended because the session did begins anew, from where it was, under a number of its own.
- A task's contest is in the state until something is decided: after a crash what was in flight is handed out again.
"""

from collections.abc import Callable
from dataclasses import replace

from codexteam.core.attempt_ends import (
    add_evidence,
    fixed_nothing,
    let_contest_go,
    retry_or_fail,
    said_words,
    still_open,
    take_work,
)
from codexteam.core.contest import ChosenBy, Contender, ContenderPhase, Contest, Trial, UnseenTests, best_among
from codexteam.core.effects import AttemptKind, JudgeAttempts, TryAttempt, Work, WriteHiddenTests
from codexteam.core.events import (
    AttemptAsked,
    AttemptFailed,
    AttemptsJudged,
    AttemptSucceeded,
    AttemptTried,
    BudgetRefused,
    HiddenTestsWritten,
)
from codexteam.core.ids import GateName, TaskId
from codexteam.core.plan_graph import OwedTests, TaskRisk
from codexteam.core.state import TaskPhase, TaskState
from codexteam.core.transition import Transition
from codexteam.core.untested import owed_tests
from codexteam.errors import InvalidTransitionError

#: Words of the rules for which tasks several attempts are made at.
HIGH_RISK, FAILED = "high_risk", "failed"


def wants_contest(transition: Transition, known: TaskState) -> bool:
    """Return whether several attempts are made at a task in place of its next one."""
    rules = transition.state.rules
    if rules.best_of < 2 or known.contest is not None or known.kind is not AttemptKind.IMPLEMENT:
        return False
    risky = HIGH_RISK in rules.best_of_tasks and known.task.risk is TaskRisk.HIGH
    return risky or (FAILED in rules.best_of_tasks and known.failures > 0)


def begin_contest(transition: Transition, task_id: TaskId, free: int) -> int:
    """Begin several attempts at a task, as far as there are threads; return how many were used."""
    known = transition.tasks[task_id]
    count = transition.state.rules.best_of
    # the first one continues what is there, the others begin anew
    contenders = tuple(
        Contender(place, restore_attempt=known.restore_attempt if place == 1 else None) for place in range(1, count + 1)
    )
    number = transition.state.contests + 1
    wanted = GateName.QA in transition.state.rules.gates and owed_tests(known.task) is not OwedTests.NONE
    tests = None if wanted else UnseenTests(note="none are wanted")
    contest = Contest(number, transition.tip, contenders, tests)
    transition.set(contests=number, contested=(*transition.state.contested, task_id))
    transition.tasks[task_id] = replace(known, contest=contest)
    return _fill(transition, task_id, free)


def run_contests(transition: Transition, free_threads: Callable[[Transition], int]) -> None:
    """Start what may start in the contests under way, before any other attempt."""
    for task_id in transition.state.contested:
        _fill(transition, task_id, free_threads(transition))
        contest = _open(transition, task_id)
        for contender in contest.contenders:
            if contender.phase is ContenderPhase.HANDED_IN and contest.tests is not None:
                trial = TryAttempt(task_id, contender.attempt, contest.base, contender.commit, contest.tests)
                if trial.key not in transition.in_flight and transition.free_places() > 0:
                    transition.hand_out(trial)
        tied = _tied(contest)
        if tied and free_threads(transition) > 0:
            judge = JudgeAttempts(task_id, contest.number, contest.base, tied)
            if judge.key not in transition.in_flight:
                transition.hand_out(judge)


def _fill(transition: Transition, task_id: TaskId, free: int) -> int:
    """Begin contenders that wait, and QA beside them: the first of these before QA, the others after it."""
    used = 0
    while used < free:
        contest = _open(transition, task_id)
        tests = WriteHiddenTests(task_id, contest.number, contest.base)
        waiting = [each for each in contest.contenders if each.phase is ContenderPhase.WAITING]
        begun = len(waiting) < len(contest.contenders)
        if begun and contest.tests is None and tests.key not in transition.in_flight:
            transition.hand_out(tests)
        elif waiting:
            _begin(transition, task_id, waiting[0])
        else:
            break
        used += 1
    return used


def _begin(transition: Transition, task_id: TaskId, contender: Contender) -> None:
    known = transition.tasks[task_id]
    attempt = known.attempts + 1
    if known.phase is TaskPhase.PENDING:
        transition.move(task_id, TaskPhase.WORKING, attempt=attempt, reason="", commit=None)
    contest = _open(transition, task_id)
    heard = len(known.said)
    begun = replace(contender, attempt=attempt, phase=ContenderPhase.WORKING, heard=heard)
    transition.tasks[task_id] = replace(
        transition.tasks[task_id], attempt=attempt, numbered=attempt, heard=heard, contest=contest.with_(begun)
    )
    evidence = "\n\n".join(part for part in (known.evidence, said_words(known.said)) if part)
    restore = contender.restore_attempt
    transition.hand_out(Work(task_id, attempt, AttemptKind.IMPLEMENT, contest.base, evidence, restore, contender.place))


def _open(transition: Transition, task_id: TaskId) -> Contest:
    known = transition.tasks.get(task_id)
    contest = None if known is None else known.open_contest
    if contest is None:
        raise InvalidTransitionError(f"task {task_id}: no several attempts are made at it")
    return contest


def _contender(transition: Transition, task_id: TaskId, attempt: int, phase: ContenderPhase) -> Contender:
    contender = _open(transition, task_id).of_attempt(attempt)
    if contender is None or contender.phase is not phase:
        found = "there is no such contender" if contender is None else f"it is {contender.phase}"
        raise InvalidTransitionError(f"task {task_id}: attempt {attempt}: {found}")
    return contender


def _put(transition: Transition, task_id: TaskId, contender: Contender) -> Contest:
    contest = _open(transition, task_id).with_(contender)
    transition.tasks[task_id] = replace(transition.tasks[task_id], contest=contest)
    return contest


# what happened


def is_contended(transition: Transition, task_id: TaskId) -> bool:
    """Return whether several attempts are made at a task now."""
    known = transition.tasks.get(task_id)
    return known is not None and known.open_contest is not None


def handed_in(transition: Transition, event: AttemptSucceeded) -> None:
    """Note that a contender handed in its work."""
    task_id = event.task_id
    contender = _contender(transition, task_id, event.attempt, ContenderPhase.WORKING)
    transition.take_back(f"work.{task_id}.{event.attempt}", event)
    left = still_open(transition, transition.tasks[task_id])
    if event.commit is None and left:
        if not _leave(transition, task_id, contender, "it changed nothing"):
            fixed_nothing(transition, transition.tasks[task_id], event, left, event.summary)
        return
    handed = replace(
        contender,
        phase=ContenderPhase.HANDED_IN,
        commit=event.commit,
        summary=event.summary,
        later=event.later,
        risks=event.risks,
        ask=event.ask,
    )
    _put(transition, task_id, handed)


def contender_failed(transition: Transition, event: AttemptFailed) -> None:
    """Note that a contender failed; those that begin later read why."""
    task_id = event.task_id
    contender = _contender(transition, task_id, event.attempt, ContenderPhase.WORKING)
    transition.take_back(f"work.{task_id}.{event.attempt}", event)
    if transition.state.stop is not None and not event.final:
        again = replace(contender, phase=ContenderPhase.WAITING, restore_attempt=event.attempt)
        _put(transition, task_id, again)
        return
    if not _is_last(transition, task_id, contender):
        known = transition.tasks[task_id]
        evidence = add_evidence(replace(known, attempt=event.attempt), event.reason, event.evidence)
        transition.tasks[task_id] = replace(known, evidence=evidence)
    if not _leave(transition, task_id, contender, event.reason):
        known = transition.tasks[task_id]
        # what another model cannot do says nothing of the next attempt, which has the task's own
        final = event.final and contender.place == 1
        retry_or_fail(transition, known, event, event.reason, event.evidence, final=final)


def contender_asked(transition: Transition, event: AttemptAsked) -> bool:
    """Note that a contender asks; return whether that is its end, since others are at work or have handed in."""
    contender = _contender(transition, event.task_id, event.attempt, ContenderPhase.WORKING)
    transition.take_back(f"work.{event.task_id}.{event.attempt}", event)
    return _leave(transition, event.task_id, contender, f"it asked: {event.question}")


def refused_in_contest(transition: Transition, event: BudgetRefused) -> bool:
    """Note that a budget refused somebody of a contest; return whether the contest continues without it."""
    effect = transition.in_flight.get(event.key)
    match effect:
        case WriteHiddenTests():
            tests = UnseenTests(note=f"QA was refused: {event.reason}")
            tests_written(transition, HiddenTestsWritten(effect.task_id, effect.number, tests))
        case JudgeAttempts():
            attempts_judged(transition, AttemptsJudged(effect.task_id, effect.number, 0, event.reason))
        case Work() if is_contended(transition, effect.task_id):
            contender = _contender(transition, effect.task_id, effect.attempt, ContenderPhase.WORKING)
            transition.take_back(event.key, event)
            if not _leave(transition, effect.task_id, contender, event.reason):
                transition.in_flight[event.key] = effect  # it waits for budget like any other attempt
                return False
        case _:
            return False
    return True


def tests_written(transition: Transition, event: HiddenTestsWritten) -> None:
    """Note what the contenders' work is held against."""
    transition.take_back(f"hidden-tests.{event.task_id}.{event.number}", event)
    contest = replace(_open(transition, event.task_id), tests=event.tests)
    transition.tasks[event.task_id] = replace(transition.tasks[event.task_id], contest=contest)


def attempt_tried(transition: Transition, event: AttemptTried) -> None:
    """Note what was seen of a contender's work; where it passed everything, it wins."""
    transition.take_back(f"try.{event.task_id}.{event.attempt}", event)
    contender = _contender(transition, event.task_id, event.attempt, ContenderPhase.HANDED_IN)
    tried = replace(contender, phase=ContenderPhase.TRIED, trial=event.trial)
    _put(transition, event.task_id, tried)
    if event.trial.passed:
        _win(transition, event.task_id, tried, ChosenBy.PASSED, "the first that passed everything")
    else:
        _decide(transition, event.task_id)


def attempts_judged(transition: Transition, event: AttemptsJudged) -> None:
    """Take the judge's word; without one the smallest change wins."""
    transition.take_back(f"judge.{event.task_id}.{event.number}", event)
    tied = _tied(_open(transition, event.task_id))
    chosen = next((each for each in tied if each.attempt == event.attempt), None)
    if chosen is not None:
        _win(transition, event.task_id, chosen, ChosenBy.JUDGE, event.reason)
    else:
        why = f"the smallest change, as no judge chose: {event.reason}".rstrip(": ")
        _win(transition, event.task_id, tied[0], ChosenBy.SIZE, why)


# what follows


def _is_last(transition: Transition, task_id: TaskId, contender: Contender) -> bool:
    """Return whether nothing else is left of a contest: neither one that is at work nor work that was tried."""
    contest = _open(transition, task_id)
    return not contest.tried and all(each.place == contender.place for each in contest.alive)


def _leave(transition: Transition, task_id: TaskId, contender: Contender, reason: str) -> bool:
    """Take a contender out; False where it was the last: the contest is over, and it is an attempt like any other."""
    last = _is_last(transition, task_id, contender)
    _put(transition, task_id, replace(contender, phase=ContenderPhase.OUT, reason=reason))
    if last:
        _close(transition, task_id, contender, ChosenBy.NOBODY, "none handed in work that could be tried")
        return False
    _decide(transition, task_id)
    return True


def _decide(transition: Transition, task_id: TaskId) -> None:
    """End a contest of which nothing more is to come, but for a judge's word."""
    contest = _open(transition, task_id)
    if contest.alive:
        return
    (first, *_), by = best_among(contest.tried)
    trial = first.trial or Trial()
    if trial.failing:
        _close(transition, task_id, first, ChosenBy.NOBODY, f"of the best of them {trial.words}")
        reason = f"the best of {len(contest.contenders)} attempts does not hold: {trial.words}"
        failed = AttemptFailed(task_id, first.attempt, reason, trial.evidence)
        retry_or_fail(transition, transition.tasks[task_id], failed, reason, trial.evidence)
    elif by is ChosenBy.EVIDENCE:
        _win(transition, task_id, first, by, f"least failed of it: {trial.words}")
    elif by is ChosenBy.SIZE:
        _win(transition, task_id, first, by, f"the smallest change of those of which as much failed: {trial.words}")


def _tied(contest: Contest) -> tuple[Contender, ...]:
    """Return the contenders among which a judge is to choose; empty while, or where, there is no need."""
    if contest.alive or not contest.tried:
        return ()
    best, by = best_among(contest.tried)
    return best if by is ChosenBy.JUDGE else ()


def _win(transition: Transition, task_id: TaskId, winner: Contender, by: ChosenBy, why: str) -> None:
    _close(transition, task_id, winner, by, why)
    handed = AttemptSucceeded(
        task_id, winner.attempt, winner.commit, winner.summary, winner.later, winner.risks, winner.ask
    )
    take_work(transition, handed)


def _close(transition: Transition, task_id: TaskId, taken: Contender, by: ChosenBy, why: str) -> None:
    """End a contest: what is in flight of it is not wanted, and the task's attempt is the one that was taken."""
    contest = _open(transition, task_id)
    let_contest_go(transition, task_id)
    for each in contest.alive:
        reason = f"attempt {taken.attempt} was taken before" if each.attempt else "it was not begun: there was no need"
        contest = contest.with_(replace(each, phase=ContenderPhase.WITHDRAWN, reason=reason))
    contest = replace(contest, winner=taken.attempt, chosen=by, why=why)
    known = transition.tasks[task_id]
    transition.tasks[task_id] = replace(known, attempt=taken.attempt, heard=taken.heard, contest=contest)
