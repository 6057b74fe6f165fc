"""What is true of every state. Tests check it after each step; a failure is a bug."""

from codexteam.core.effects import Integrate, IntegrateExtra, Result, Work
from codexteam.core.events import Verdict
from codexteam.core.findings import GateName
from codexteam.core.plan_graph import graph_of
from codexteam.core.scopes import scopes_overlap
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
    # whose work began when there were more threads
    old = {effect.key for effect in before.in_flight.values() if isinstance(effect, Work)} if before else set()
    new = {effect.key for effect in state.in_flight.values() if isinstance(effect, Work)} - old
    merging = [effect for effect in state.in_flight.values() if isinstance(effect, Integrate | IntegrateExtra)]
    done = TaskPhase.MERGED
    facts = [
        (working == in_flight, f"working are {sorted(working)}, in flight are {sorted(in_flight)}"),
        (not new or len(in_flight) <= state.rules.max_threads, f"{len(in_flight)} agents at once"),
        (len(merging) <= 1, f"{len(merging)} merges at once"),
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
    running = [known.task for known in state.tasks.values() if known.phase is TaskPhase.WORKING]
    for place, task in enumerate(running):
        clash = [other.id for other in running[place + 1 :] if scopes_overlap(task.paths, other.paths)]
        facts.append((not clash, f"{task.id} works beside {clash}, which writes where it writes"))
    if state.result is Result.GREEN:
        facts += _green(state)
    return facts


def _green(state: RunState) -> list[tuple[bool, str]]:
    heard = [state.gates[gate].commit for gate in state.rules.gates if gate in state.gates]
    missing: list[GateName] = [gate for gate in state.rules.gates if gate not in state.gates]
    still_open = [i for i, known in state.findings.items() if known.status is FindingStatus.OPEN]
    failed = [i for i, known in state.tasks.items() if known.phase in TERMINAL - {TaskPhase.MERGED, TaskPhase.DROPPED}]
    verdicts = {gate: record.verdict for gate, record in state.gates.items() if gate in state.rules.gates}
    silent = [gate for gate, verdict in verdicts.items() if verdict is Verdict.UNANSWERED]
    waived = {known.finding.gate for known in state.findings.values() if known.status is FindingStatus.WAIVED}
    blocking = [gate for gate, verdict in verdicts.items() if verdict is Verdict.BLOCK and gate not in waived]
    return [
        (not silent, f"green without a verdict of {silent}"),
        (not blocking, f"green against {blocking}, of which no finding was waived"),
        (not missing, f"green without {missing}"),
        (all(commit == state.landed for commit in heard), f"green on {state.landed}, but judged were {heard}"),
        (state.landed == state.tip, "green, but the branch is elsewhere"),
        (not still_open, f"green with {still_open} open"),
        (not failed, f"green with {failed} not done"),
        (all(known.phase in TERMINAL for known in state.tasks.values()), "green with tasks left"),
    ]
