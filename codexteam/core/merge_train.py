"""The merge train: how accepted work gets into the branch while more of it comes.

How it works
------------
Each task's work is a *candidate*. Candidates stand in order, and each is *stacked*: merged onto the one ahead of it, the
first onto the tip. So the tree on which a candidate's acceptance commands run is the one that the branch will have when
it is merged, and the commands of all of them can run at the same time.

    tip <- A <- B <- C        B is checked as tip + A + B, while A is checked as tip + A

1. *Joins.* Work that was accepted in its sandbox joins at the end; among those that nothing is known of yet, what unblocks
   most goes first (`PlanGraph.priority`). Where merges need approval it waits for that before.
2. *Is stacked.* A merge of objects, before anything runs. One at a time, since each needs the commit of the one ahead.
3. *Is checked*, by as many runs at once as there are threads, and one more for each thread that has no agent. Neighbours
   wait for a free one together: where the commands of one are among those of the next, it *rides*, and one run on the last
   one's tree answers for all. What has no commands has passed.
4. *Is merged.* When all ahead of it are merged, the tip moves to it: over those that ride on it, never to one of them.
   Right before that the user's hooks may refuse it.

A candidate with a *problem* (it conflicts, its commands failed, or it was refused) stays where it is as long as those ahead
of it are undecided, since one of them may be to blame; those behind it are stacked past it and checked again. Then either

- all that it was stacked on is merged: the problem is its own, and it goes back to its task, or
- something that it was stacked on is gone: it goes to the end of the train and begins anew. At the end, since what failed
  once is likelier to fail again, and would take those behind it along once more.

If the run of one with riders fails, one of them is to blame: they are checked again in groups of half the size.

A run is *stale* when its candidate is stacked anew: what it says holds of a tree that will not be. While nobody needs its
place it may end all the same, since a candidate that failed on one tree is likelier to fail on another. So one whose stale
run fails goes to the end of the train as well, once: if it fails again, nobody is behind it. What a stale run passed
counts for nothing.

What must hold
--------------
- The tip moves only to a commit on whose very tree a candidate's commands passed, with those of all that ride on it.
- What stands behind a change is never taken for checked: whoever is stacked anew loses its result. The effects that worked
  for it are no longer in flight, which cancels them, but for a stale run that may end.
- The first candidate stands on the tip, so that its result is final, and nothing moves it: each result of the first takes
  one out of the train, and the train ends.
- After a crash nothing is to be put right: the candidates are in the state, and what was in flight is handed out again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from codexteam.core.attempt_ends import fixed_nothing, sent_back, still_open
from codexteam.core.effects import (
    AdvanceBranch,
    Awaited,
    CheckCandidate,
    Integrate,
    IntegrateExtra,
    MergedCandidate,
    StackCandidate,
)
from codexteam.core.events import (
    AcceptanceFailed,
    BranchMoved,
    CandidateAccepted,
    CandidateStacked,
    Event,
    Integrated,
    IntegrationConflicted,
    MergeRefused,
)
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Candidate, TaskPhase
from codexteam.core.transition import Transition

#: The reason of a task whose merge a person approved.
APPROVED = "approved"

# what happened


def candidate_stacked(transition: Transition, event: CandidateStacked) -> None:
    """Note that a candidate merged onto what is ahead of it."""
    transition.take_back(f"stack.{event.task_id}.{event.attempt}.{event.number}", event)
    _change(transition, event.task_id, commit=event.commit, changed=event.changed)


def candidate_accepted(transition: Transition, event: CandidateAccepted) -> None:
    """Note that the commands of a candidate, and of those that ride on it, passed on its tree."""
    effect = transition.take_back(f"check.{event.task_id}.{event.attempt}.{event.number}", event)
    if not (isinstance(effect, CheckCandidate) and _is_stale(transition, effect)):
        _change(transition, event.task_id, passed=True)


def candidate_failed(transition: Transition, event: AcceptanceFailed | IntegrationConflicted) -> None:
    """Note that a candidate has a problem; those that rode on it are to be checked in smaller groups."""
    what = "check" if isinstance(event, AcceptanceFailed) else "stack"
    effect = transition.take_back(f"{what}.{event.task_id}.{event.attempt}.{event.number}", event)
    if isinstance(effect, CheckCandidate) and _is_stale(transition, effect):
        _move_to_end(transition, effect.task_id)
        return
    riders = effect.riders if isinstance(effect, CheckCandidate) else ()
    half = (len(riders) + 2) // 2  # of them all, rounded up
    _change(transition, event.task_id, problem=event, most_shared=half)
    for task_id in riders:
        _change(transition, task_id, rides=False, most_shared=half)


def _move_to_end(transition: Transition, task_id: TaskId) -> None:
    """Let a candidate go last that failed on another tree, unless what is known of it by now says more."""
    [candidate] = [each for each in transition.state.train if each.task_id == task_id]
    decided = candidate.problem is not None or candidate.passed or candidate.rides
    if candidate.failed_before or decided or candidate.onto == transition.state.tip:
        return
    others = (each for each in transition.state.train if each.task_id != task_id)
    transition.set(train=(*others, replace(candidate, failed_before=True)))


def candidate_refused(transition: Transition, event: MergeRefused) -> None:
    """Note that a hook refused a candidate: the tip stays, and those that rode on its tree are to be checked anew."""
    moving = next((key for key, effect in transition.in_flight.items() if isinstance(effect, AdvanceBranch)), "advance")
    transition.take_back(moving, event)
    ahead = takewhile(lambda each: each.task_id != event.task_id, transition.state.train)
    for candidate in takewhile(lambda each: each.rides, reversed([*ahead])):
        _change(transition, candidate.task_id, rides=False)
    _change(transition, event.task_id, problem=event, rides=False, passed=False)


def branch_moved(transition: Transition, event: BranchMoved) -> None:
    """Note that the tip is at a candidate: it is merged, with all that were ahead of it."""
    transition.take_back(f"advance.{event.commit}", event)
    for merge in event.merges:
        transition.current(merge.task_id, merge.attempt, event)
        _leave(transition, merge.task_id)
        note_merge(transition, merge, event)


def note_merge(transition: Transition, merge: MergedCandidate, event: BranchMoved | Integrated) -> None:
    """Move a task on whose work is merged."""
    known = transition.tasks[merge.task_id]
    # what was merged since its gates last judged may be the fix
    if merge.commit == transition.state.tip and not transition.state.batch and (left := still_open(transition, known)):
        fixed_nothing(transition, known, event, left, known.summary)
        return
    transition.move(merge.task_id, TaskPhase.MERGED, event, reason="", unchanged=not merge.changed)
    # a fix is looked at although it changed nothing: no verdict from before it says that it is one
    transition.merged(merge.task_id, merge.commit, changed=merge.changed or bool(known.task.fixes))
    if known.contest is not None and (tests := known.contest.passed_tests) is not None:
        # not before: without the work they fail
        transition.set(extras=(*transition.state.extras, (f"qa.{merge.task_id}", tests)))


def merges_in(events: Iterable[Event]) -> Iterator[MergedCandidate]:
    """Give what events say was merged of tasks, oldest first, whatever version wrote them."""
    for event in events:
        match event:
            case BranchMoved(merges=merges):
                yield from merges
            case Integrated(task_id, attempt, commit, changed):
                yield MergedCandidate(task_id, attempt, commit, changed)
            case _:
                continue


# what follows


def run_train(transition: Transition) -> None:
    """Take in what waits, stack it, check it, and merge what has passed."""
    if any(isinstance(effect, Integrate | IntegrateExtra) for effect in transition.in_flight.values()):
        return  # the tip is about to move
    _take_out(transition)
    _join(transition)
    if transition.state.rules.decisions < 5:
        return
    _stack(transition)
    _check(transition)
    _advance(transition)
    if not transition.state.train and transition.state.extras:
        _merge_extra(transition)


def conclude(transition: Transition) -> None:
    """Merge what has passed, and start nothing."""
    forget_stale(transition)
    _take_out(transition)
    _advance(transition)


def _take_out(transition: Transition) -> None:
    """Send work back whose problem is its own: all that it was stacked on is merged."""
    own = [each for each in transition.state.train if each.problem is not None and each.onto == transition.state.tip]
    for candidate in own:
        _leave(transition, candidate.task_id)
        if candidate.problem is not None:
            sent_back(transition, candidate.problem)
    if own:  # with the one to blame gone, the others may share a run again
        transition.set(train=tuple(replace(each, most_shared=0) for each in transition.state.train))


def _join(transition: Transition) -> None:
    """Let queued work into the train, behind all of which anything is known."""
    if transition.state.rules.decisions < 5:
        _integrate(transition)
        return
    waiting = transition.state.merge_queue
    if not waiting:
        return
    transition.set(merge_queue=())
    train = list(transition.state.train)
    fresh = []
    while train and not train[-1].number:
        fresh.append(train.pop())
    for task_id in waiting:
        known = transition.tasks[task_id]
        if not _held_for_approval(transition, task_id):
            transition.move(task_id, TaskPhase.INTEGRATING, reason="")
            fresh.append(Candidate(task_id, known.attempt, known.commit))
    fresh.sort(key=lambda each: transition.state.graph.priority(each.task_id))
    transition.set(train=(*train, *fresh))


def _held_for_approval(transition: Transition, task_id: TaskId) -> bool:
    known = transition.tasks[task_id]
    if ("merge" not in transition.state.rules.approve and not known.ask) or known.reason == APPROVED:
        return False
    transition.move(task_id, TaskPhase.ON_HOLD, reason="waits for approval of its merge")
    question = known.ask or f"Merge {task_id} ({known.task.title})?"
    transition.ask(f"merge.{task_id}.{known.attempt}", question, task_id)
    return True


def _stack(transition: Transition) -> None:
    """Stack each candidate on the one ahead of it that has no problem; what stood on anything else begins anew."""
    waiting = deque(transition.state.train)
    train: list[Candidate] = []
    behind: list[TaskId] = []
    ahead = transition.state.tip  # None while it is not known yet
    while waiting:
        candidate = waiting.popleft()
        stands = ahead is not None and candidate.onto == ahead
        if candidate.problem is not None:
            if stands:
                train.append(candidate)
            else:
                waiting.append(_anew(transition, candidate))
            continue
        if not stands:
            candidate = _anew(transition, candidate)
            if ahead is not None:
                candidate = replace(candidate, onto=ahead, number=candidate.number + 1)
                if candidate.work is None:
                    candidate = replace(candidate, commit=ahead, changed=False)
                else:
                    transition.hand_out(
                        StackCandidate(
                            candidate.task_id, candidate.attempt, candidate.number, candidate.work, ahead, tuple(behind)
                        )
                    )
        train.append(candidate)
        behind.append(candidate.task_id)
        ahead = candidate.commit
    transition.set(train=tuple(train))


def _anew(transition: Transition, candidate: Candidate) -> Candidate:
    """Return a candidate of which nothing is known, and want no answer any more about what it was that says nothing of it."""
    transition.in_flight.pop(f"stack.{candidate.task_id}.{candidate.attempt}.{candidate.number}", None)
    check = f"check.{candidate.task_id}.{candidate.attempt}.{candidate.number}"
    if not (transition.state.rules.decisions >= 6 and _may_end(candidate, transition.in_flight.get(check))):
        transition.in_flight.pop(check, None)
    return Candidate(
        candidate.task_id,
        candidate.attempt,
        candidate.work,
        number=candidate.number,
        most_shared=candidate.most_shared,
        failed_before=candidate.failed_before,
    )


def _may_end(candidate: Candidate, check: Awaited | None) -> bool:
    """Return whether a failure of a run that becomes stale would say something, of this candidate alone."""
    return isinstance(check, CheckCandidate) and not check.riders and not candidate.failed_before


def _is_stale(transition: Transition, check: CheckCandidate) -> bool:
    """Return whether a run is on a tree that its candidate does not have any more."""
    return _trees(transition).get(check.task_id) != _tree(check)


def _stale(transition: Transition) -> list[str]:
    """Return the keys of stale runs, in the order in which they began."""
    trees = _trees(transition)  # once: of a thousand runs each would look through a thousand candidates
    runs = ((key, effect) for key, effect in transition.in_flight.items() if isinstance(effect, CheckCandidate))
    return [key for key, run in runs if trees.get(run.task_id) != _tree(run)]


def _trees(transition: Transition) -> dict[TaskId, tuple[int, int, CommitId | None]]:
    return {candidate.task_id: _tree(candidate) for candidate in transition.state.train}


def _tree(of: Candidate | CheckCandidate) -> tuple[int, int, CommitId | None]:
    return of.attempt, of.number, of.commit


def forget_stale(transition: Transition) -> None:
    """Want no answer of stale runs any more: nothing is to follow from them, or they would have to begin anew."""
    for key in _stale(transition):
        del transition.in_flight[key]


def _check(transition: Transition) -> None:
    """Start as many runs as there are places for them, first ones first."""
    for candidate in transition.state.train:
        known = candidate.passed or candidate.rides or candidate.problem is not None
        if candidate.commit is not None and not known and not _has_commands(transition, candidate):
            _change(transition, candidate.task_id, passed=True)
    stale = _stale(transition)
    free = _free(transition, stale)
    starting = _groups_to_start(transition, free)
    for group in starting:
        *riders, last = group
        for rider in riders:
            _change(transition, rider.task_id, rides=True)
        if last.commit is not None:
            names = tuple(rider.task_id for rider in riders)
            transition.hand_out(CheckCandidate(last.task_id, last.attempt, last.number, last.commit, names))
    for key in stale[free - len(starting) :]:  # the oldest may end: they are the nearest to it
        del transition.in_flight[key]


def _free(transition: Transition, stale: Sequence[str]) -> int:
    """Return how many runs may begin: stale ones make room."""
    if transition.state.rules.decisions >= 6:
        return transition.free_places(beside=len(stale))
    running = sum(isinstance(effect, CheckCandidate) for effect in transition.in_flight.values())
    return max(0, transition.state.rules.max_threads - running)


def _groups_to_start(transition: Transition, free: int) -> list[list[Candidate]]:
    """Return the groups of candidates that a run each is to answer for now."""
    if free <= 0:
        return []
    groups = list(islice(_groups(transition), free))
    stacking = any(isinstance(effect, StackCandidate) for effect in transition.in_flight.values())
    if stacking and len(groups) < free:
        # who is being stacked may share the last one's run, and a place is free for it a moment later
        return groups[:-1] if transition.state.rules.decisions >= 6 else []
    return groups[:free]


def _groups(transition: Transition) -> Iterator[list[Candidate]]:
    """Give the candidates that wait to be checked, neighbours together that one run can answer for."""
    group: list[Candidate] = []
    needed: frozenset[str] = frozenset()
    for candidate in transition.state.train:
        if candidate.problem is None and candidate.commit is None:
            break
        checking = f"check.{candidate.task_id}.{candidate.attempt}.{candidate.number}" in transition.in_flight
        waits = not (candidate.problem or candidate.passed or candidate.rides or checking)
        commands = _commands(transition, candidate) if waits else frozenset()
        if group and not (waits and needed <= commands and _fits(group, candidate)):
            yield group
            group, needed = [], frozenset()
        if waits:
            group.append(candidate)
            needed |= commands
    if group:
        yield group


def _fits(group: Sequence[Candidate], candidate: Candidate) -> bool:
    """Return whether a candidate may share the run of a group, as far as their numbers go."""
    limits = [each.most_shared for each in (*group, candidate) if each.most_shared]
    return len(group) < min(limits, default=len(group) + 1)


def _has_commands(transition: Transition, candidate: Candidate) -> bool:
    return any(each.command for each in transition.tasks[candidate.task_id].task.acceptance)


def _commands(transition: Transition, candidate: Candidate) -> frozenset[str]:
    return frozenset(acceptance_commands(transition.tasks[candidate.task_id].task))


def acceptance_commands(*tasks: Task) -> tuple[str, ...]:
    """Return the commands that accept the work of tasks, each once."""
    return tuple(dict.fromkeys(each.command for task in tasks for each in task.acceptance if each.command))


def _advance(transition: Transition) -> None:
    """Move the tip over the candidates that have passed, from the first one on."""
    onto = transition.state.tip
    if onto is None or any(isinstance(effect, AdvanceBranch) for effect in transition.in_flight.values()):
        return
    merges: list[MergedCandidate] = []
    passed = 0
    ahead = onto
    for candidate in transition.state.train:
        # while the run winds down, what stands on a failed one is not stacked anew
        stands = candidate.problem is None and candidate.onto == ahead
        if not stands or candidate.commit is None or not (candidate.rides or candidate.passed):
            break
        ahead = candidate.commit
        merges.append(
            MergedCandidate(candidate.task_id, candidate.attempt, candidate.commit, candidate.changed, candidate.number)
        )
        if candidate.passed:
            passed = len(merges)
    if passed:
        transition.hand_out(AdvanceBranch(merges[passed - 1].commit, onto, tuple(merges[:passed])))


def _merge_extra(transition: Transition) -> None:
    (name, commit), *others = transition.state.extras
    transition.set(extras=tuple(others))
    transition.hand_out(IntegrateExtra(name, commit, transition.tip))


def _integrate(transition: Transition) -> None:
    """Start the next merge as older versions did: one after the other, each onto the tip that the one before left."""
    while transition.state.merge_queue:
        task_id, *rest = transition.state.merge_queue
        transition.set(merge_queue=tuple(rest))
        if _held_for_approval(transition, task_id):
            continue
        known = transition.tasks[task_id]
        transition.move(task_id, TaskPhase.INTEGRATING, reason="")
        transition.hand_out(Integrate(task_id, known.attempt, known.commit, transition.tip))
        return
    if transition.state.extras:
        _merge_extra(transition)


def _change(transition: Transition, task_id: TaskId, **changes: object) -> None:
    train = transition.state.train
    transition.set(
        train=tuple(replace(each, **changes) if each.task_id == task_id else each for each in train)  # type: ignore[arg-type]  # the names are Candidate's own
    )


def _leave(transition: Transition, task_id: TaskId) -> None:
    for key, effect in list(transition.in_flight.items()):
        if isinstance(effect, CheckCandidate) and effect.task_id == task_id:
            del transition.in_flight[key]  # it is stale: what became of the task is known
    transition.set(train=tuple(each for each in transition.state.train if each.task_id != task_id))
