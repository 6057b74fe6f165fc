"""What is true of every state. Tests check it after each step; a failure is a bug."""

from codexteam.core.base_check import may_implement
from codexteam.core.contest import OVER, ContenderPhase
from codexteam.core.effects import (
    AdvanceBranch,
    CheckCandidate,
    Integrate,
    IntegrateExtra,
    JudgeAttempts,
    Result,
    StackCandidate,
    TryAttempt,
    Work,
    WriteHiddenTests,
)
from codexteam.core.events import Verdict
from codexteam.core.ids import GateName, TaskId
from codexteam.core.paths import may_clash, scopes_overlap
from codexteam.core.plan_graph import graph_of
from codexteam.core.state import HOPELESS, TERMINAL, FindingStatus, RunState, TaskPhase
from codexteam.errors import InternalError


def check(state: RunState, before: RunState | None = None) -> None:
    """Check a state; `before` is the one that it followed from, where there is one.

    Raises:
        InternalError: names what does not hold.
    """
    for holds, what in _facts(state, before):
        if not holds:
            raise InternalError(f"state of run {state.run_id}: {what}")


def _facts(state: RunState, before: RunState | None) -> list[tuple[bool, str]]:
    working = {i for i, known in state.tasks.items() if known.phase is TaskPhase.WORKING}
    in_flight = {effect.task_id for effect in state.in_flight.values() if isinstance(effect, Work)}
    shelved = {known.effect.task_id for known in state.shelved.values() if isinstance(known.effect, Work)}
    # whose work began when there were more threads
    old = {effect.key for effect in before.in_flight.values() if isinstance(effect, Work)} if before else set()
    if before is not None:  # or when there was less budget
        old |= {key for key, known in before.shelved.items() if isinstance(known.effect, Work)}
    new = {effect.key for effect in state.in_flight.values() if isinstance(effect, Work)} - old
    merging = [effect for effect in state.in_flight.values() if isinstance(effect, Integrate | IntegrateExtra)]
    done = TaskPhase.MERGED
    facts = [
        # of several attempts none may be at work: the session ends, or what they left is being tried
        (
            working - {*state.contested} == (in_flight | shelved) - {*state.contested},
            f"working are {sorted(working)}, in flight are {sorted(in_flight | shelved)}",
        ),
        (not state.shelved.keys() & state.in_flight.keys(), "what waits for budget is in flight"),
        (not new or len(in_flight) <= state.rules.max_threads, f"{len(in_flight)} agents at once"),
        (len(merging) <= 1, f"{len(merging)} merges at once"),
        *_contests(state),
        *_train(state, {effect.task_id for effect in merging if isinstance(effect, Integrate)}),
        (len(state.tasks) <= max(state.rules.max_tasks, len(state.tasks)), "too many tasks"),
        (state.graph == graph_of([known.task for known in state.tasks.values()]), "the graph is not the tasks'"),
    ]
    for task_id, known in state.tasks.items():
        started = known.phase not in {TaskPhase.PENDING, TaskPhase.BLOCKED, TaskPhase.DROPPED, TaskPhase.FAILED}
        merged = all(state.tasks[dep].phase is done for dep in known.task.deps)
        facts.append((merged or not started, f"{task_id} is {known.phase} before its dependencies are merged"))
        blocked = any(state.tasks[dep].phase in HOPELESS for dep in known.task.deps)
        hopes = known.phase is TaskPhase.PENDING
        facts.append((not (hopes and blocked), f"{task_id} is {known.phase}, and what it waits for never comes"))
        facts.append((blocked or known.phase is not TaskPhase.BLOCKED, f"{task_id} is {known.phase} by nothing"))
        queued = task_id in state.merge_queue
        facts.append((queued == (known.phase is TaskPhase.QUEUED), f"{task_id} is {known.phase}, queued: {queued}"))
    pending = {i: known for i, known in state.tasks.items() if known.phase is TaskPhase.PENDING}
    missing = {i: sum(state.tasks[d].phase is not done for d in known.task.deps) for i, known in pending.items()}
    ready = sorted((i for i, count in missing.items() if not count), key=state.graph.priority)
    facts += [
        (state.missing == missing, "counts of missing dependencies are off"),
        (list(state.ready) == ready, f"ready are {state.ready}, should be {ready}"),
    ]
    fresh = {effect.task_id for effect in state.in_flight.values() if effect.key in new and isinstance(effect, Work)}
    unknown = [i for i in fresh if not may_implement(state, state.tasks[i])]
    facts.append((not unknown, f"{unknown} are worked on, and what checks them was not run on the base commit"))
    running = [known.task for known in state.tasks.values() if known.phase is TaskPhase.WORKING]
    clashes = may_clash if state.rules.decisions >= 3 else scopes_overlap
    for place, task in enumerate(running):
        clash = [other.id for other in running[place + 1 :] if clashes(task.paths, other.paths)]
        facts.append((not clash, f"{task.id} works beside {clash}, which writes where it writes"))
    if state.result is Result.GREEN:
        facts += _green(state)
    return facts


def _contests(state: RunState) -> list[tuple[bool, str]]:
    under_way = {i for i, known in state.tasks.items() if known.open_contest is not None}
    facts = [
        ({*state.contested} == under_way, f"contests of {state.contested}, by their tasks of {under_way}"),
        (len({*state.contested}) == len(state.contested), "a task is contested twice"),
    ]
    begun = (*state.in_flight.values(), *(known.effect for known in state.shelved.values()))
    works = [effect for effect in begun if isinstance(effect, Work)]
    beside = [e for e in begun if isinstance(e, WriteHiddenTests | TryAttempt | JudgeAttempts)]
    facts.append(({e.task_id for e in beside} <= under_way, f"{beside} are for no contest"))
    for task_id, known in state.tasks.items():
        at_work = {effect.attempt for effect in works if effect.task_id == task_id}
        contest = known.contest
        if contest is None or not contest.is_open:
            facts.append((len(at_work) <= 1, f"{task_id}: {at_work} are at work"))
        if contest is None:
            continue
        phases = {each.attempt: each.phase for each in contest.contenders if each.attempt}
        numbers = [each.attempt for each in contest.contenders if each.attempt]
        facts.append((len(numbers) == len({*numbers}), f"{task_id}: two contenders are attempt {numbers}"))
        facts.append((max(numbers, default=0) <= known.attempts, f"{task_id}: an attempt has no number"))
        if not contest.is_open:
            facts.append(({*phases.values()} <= OVER, f"{task_id}: its contest is over and {phases}"))
            taken = contest.of_attempt(contest.winner)
            facts.append((taken is not None, f"{task_id}: nobody won"))
            continue
        facts.append((known.phase is TaskPhase.WORKING, f"{task_id} is {known.phase} and contested"))
        of_phase = {number for number, phase in phases.items() if phase is ContenderPhase.WORKING}
        facts.append((of_phase == at_work, f"{task_id}: {at_work} are at work, by their phases {of_phase}"))
    return facts


def _train(state: RunState, integrating: set[TaskId]) -> list[tuple[bool, str]]:
    names = [candidate.task_id for candidate in state.train]
    phases = {i for i, known in state.tasks.items() if known.phase is TaskPhase.INTEGRATING}
    facts = [
        ({*names} | integrating == phases, f"{names} and {integrating} are merged, by their phases {phases}"),
        (len({*names}) == len(names), "a task is in the train twice"),
    ]
    known = {candidate.task_id: candidate for candidate in state.train}
    for effect in state.in_flight.values():
        if isinstance(effect, StackCandidate | CheckCandidate):
            number = known[effect.task_id].number if effect.task_id in known else 0
            # a run may end that a change overtook, where it says something of one candidate alone
            stale = isinstance(effect, CheckCandidate) and not effect.riders and effect.number < number
            wanted = number == effect.number or (stale and state.rules.decisions >= 6)
            facts.append((wanted, f"{effect.key} is in flight, and nobody wants it"))
        if isinstance(effect, AdvanceBranch):
            first = tuple(candidate.task_id for candidate in state.train[: len(effect.merges)])
            facts.append((first == tuple(merge.task_id for merge in effect.merges), f"{effect.key} is not the first"))
    ahead = state.tip
    rides = False
    winding_down = state.stop is not None or state.paused or state.result is not None
    for candidate in state.train:
        if candidate.problem is not None:
            facts.append((not rides and not candidate.passed, f"{candidate.task_id} has a problem and is ridden on"))
            continue
        stands = candidate.onto is None or candidate.onto == ahead
        facts.append((stands or winding_down, f"{candidate.task_id} does not stand on what is ahead"))
        told = candidate.passed or candidate.rides
        facts.append((not told or candidate.commit is not None, f"{candidate.task_id} passed and is not stacked"))
        ahead, rides = candidate.commit, candidate.rides
    return [*facts, (not rides, "somebody rides on nothing")]


def _green(state: RunState) -> list[tuple[bool, str]]:
    heard = [state.gates[gate].commit for gate in state.rules.gates if gate in state.gates]
    missing: list[GateName] = [gate for gate in state.rules.gates if gate not in state.gates]
    still_open = [i for i, known in state.findings.items() if known.status is FindingStatus.OPEN]
    failed = [i for i, known in state.tasks.items() if known.phase in TERMINAL - {TaskPhase.MERGED, TaskPhase.DROPPED}]
    verdicts = {gate: record.verdict for gate, record in state.gates.items() if gate in state.rules.gates}
    silent = [gate for gate, verdict in verdicts.items() if verdict is Verdict.UNANSWERED]
    waived = {known.finding.gate for known in state.findings.values() if known.status is FindingStatus.WAIVED}
    blocking = [gate for gate, verdict in verdicts.items() if verdict is Verdict.BLOCK and gate not in waived]
    # a review lands nothing: it is green on what it was to judge
    green = state.tip if state.rules.review else state.landed
    return [
        (
            not state.rules.check_base or state.rules.allow_unchecked or any(r.ran for r in state.gates.values()),
            "green, and no gate command checked it",
        ),
        (not silent, f"green without a verdict of {silent}"),
        (not blocking, f"green against {blocking}, of which no finding was waived"),
        (not missing, f"green without {missing}"),
        (all(commit in {green, *state.same_tree} for commit in heard), f"green on {green}, but judged were {heard}"),
        (green == state.tip, "green, but the branch is elsewhere"),
        (not still_open, f"green with {still_open} open"),
        (not failed, f"green with {failed} not done"),
        (all(known.phase in TERMINAL for known in state.tasks.values()), "green with tasks left"),
    ]
