"""A run's state while one event is applied: opened, changed through few moves, closed again.

Only modules of `core` use it (import-linter). Nothing of it escapes: `close` returns a frozen state and the effects.
"""

from bisect import insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from codexteam.core.effects import (
    BUSY,
    AskPerson,
    Awaited,
    CheckBase,
    CheckCandidate,
    Effect,
    Finish,
    Result,
    TryAttempt,
    WritePlan,
)
from codexteam.core.events import BudgetRefused, Event
from codexteam.core.findings import Category, Finding, fingerprint
from codexteam.core.ids import CommitId, FindingId, TaskId
from codexteam.core.plan_graph import Task, TaskStatus, graph_of
from codexteam.core.state import (
    HOPELESS,
    TASK_TRANSITIONS,
    FindingState,
    FindingStatus,
    Hold,
    RunState,
    Shelved,
    Stop,
    TaskPhase,
    TaskState,
    status_of,
)
from codexteam.errors import InvalidTransitionError


@dataclass(slots=True)
class Transition:
    """The working copy. `state` holds what is replaced whole; mappings that change often are copies of their own."""

    state: RunState
    tasks: dict[TaskId, TaskState]
    missing: dict[TaskId, int]
    ready: list[TaskId]
    in_flight: dict[str, Awaited]
    effects: list[Effect] = field(default_factory=list)
    plan_changed: bool = False

    @classmethod
    def open(cls, state: RunState) -> "Transition":
        """Copy what may change."""
        return cls(state, dict(state.tasks), dict(state.missing), list(state.ready), dict(state.in_flight))

    def close(self) -> tuple[RunState, tuple[Effect, ...]]:
        """Return the new state and what to do."""
        if self.plan_changed and not self.state.rules.review:  # a review has no plan
            self.effects.append(WritePlan())
        state = replace(
            self.state, tasks=self.tasks, missing=self.missing, ready=tuple(self.ready), in_flight=self.in_flight
        )
        return state, tuple(self.effects)

    def set(self, **changes: object) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]  # the names are RunState's own

    @property
    def tip(self) -> CommitId:
        """Return where the branch points.

        Raises:
            InvalidTransitionError: the run is not prepared.
        """
        if self.state.tip is None:
            raise InvalidTransitionError("the run has no base commit yet")
        return self.state.tip

    # effects

    def hand_out(self, effect: Awaited) -> None:
        """Start an effect that answers with an event."""
        self.in_flight[effect.key] = effect
        self.effects.append(effect)

    def take_back(self, key: str, event: Event) -> Awaited:
        """Note that an effect was answered.

        Raises:
            InvalidTransitionError: it is not in flight.
        """
        try:
            return self.in_flight.pop(key)
        except KeyError:
            known = ", ".join(sorted(self.in_flight)) or "nothing"
            raise InvalidTransitionError(f"{type(event).__name__} answers {key}, but in flight is {known}") from None

    def let_go(self, key: str) -> None:
        """Want no answer any more from an effect.

        Raises:
            InvalidTransitionError: it is not in flight.
        """
        if self.in_flight.pop(key, None) is None:
            raise InvalidTransitionError(f"{key} is not in flight")

    def free_places(self, *, beside: int = 0) -> int:
        """Return how many more runs of acceptance commands may begin; `beside` of those in flight do not count.

        Each thread has a place for one, and as long as it has no agent for another: a sandbox that is not used.
        """
        agents = sum(isinstance(effect, BUSY) for effect in self.in_flight.values())
        runs = sum(isinstance(effect, CheckBase | CheckCandidate | TryAttempt) for effect in self.in_flight.values())
        threads = self.state.rules.max_threads
        return max(0, threads + max(0, threads - agents) - (runs - beside))

    def shelve(self, event: BudgetRefused) -> None:
        """Put an effect aside that a budget refused.

        Raises:
            InvalidTransitionError: it is not in flight.
        """
        effect = self.take_back(event.key, event)
        self.set(shelved={**self.state.shelved, event.key: Shelved(effect, event.reason, event.budget_scope)})

    def drop_shelved(self, key: str) -> None:
        """Forget what waits for budget under a key."""
        self.set(shelved={other: known for other, known in self.state.shelved.items() if other != key})

    def unshelve(self) -> None:
        """Have all that waits for budget in flight again."""
        self.in_flight.update({key: shelved.effect for key, shelved in self.state.shelved.items()})
        self.set(shelved={})

    def ask(self, item: str, question: str, task_id: TaskId | None = None) -> None:
        """Put something before a person, once."""
        if item not in self.state.holds:
            self.set(holds={**self.state.holds, item: Hold(question, task_id)})
            self.effects.append(AskPerson(item, question, task_id))

    def finish(self, result: Result, reason: str, exit_code: int | None = None) -> None:
        """End this session."""
        self.set(result=result, result_reason=reason)
        self.effects.append(Finish(result, reason, result.exit_code if exit_code is None else exit_code))

    def wind_down(self, result: Result, reason: str, exit_code: int | None = None) -> None:
        """Let nothing new start; the first reason stays."""
        if self.state.stop is None:
            self.set(stop=Stop(result, reason, result.exit_code if exit_code is None else exit_code))

    # tasks

    def move(self, task_id: TaskId, to: TaskPhase, event: Event | None = None, **changes: object) -> TaskState:
        """Move a task along the table, changing other fields with it.

        Raises:
            InvalidTransitionError: the table has no such move.
        """
        before = self.tasks[task_id]
        allowed = TASK_TRANSITIONS.get((before.phase, type(event) if event else None), frozenset())
        if to not in allowed:
            what = type(event).__name__ if event else "the scheduler"
            raise InvalidTransitionError(f"task {task_id}: {what} cannot move it from {before.phase} to {to}")
        after = replace(before, phase=to, **changes)  # type: ignore[arg-type]  # the names are TaskState's own
        self.tasks[task_id] = after
        if before.phase is TaskPhase.PENDING:
            self._unready(task_id)
        if to is TaskPhase.PENDING:
            self._pend(task_id)
        if status_of(before.phase) is not status_of(after.phase):
            self.plan_changed = True
        if to is TaskPhase.MERGED:
            self._release_dependents(task_id)
        if to in HOPELESS:
            self._block_dependents(task_id)
        elif to is TaskPhase.PENDING and self._is_blocked(after.task):
            return self.move(task_id, TaskPhase.BLOCKED, reason=self._why_blocked(after.task))
        elif before.phase in HOPELESS:
            self._unblock_dependents(task_id)
        return after

    def current(self, task_id: TaskId, attempt: int, event: Event) -> TaskState:
        """Return a task whose newest attempt an event speaks of.

        Raises:
            InvalidTransitionError: there is no such task, or another attempt is the newest.
        """
        known = self.tasks.get(task_id)
        if known is None or known.attempt != attempt:
            found = f"its newest attempt is {known.attempt}" if known else "there is no such task"
            raise InvalidTransitionError(f"task {task_id}: {type(event).__name__} for attempt {attempt}: {found}")
        return known

    def set_tasks(self, tasks: Iterable[Task], *, also: Collection[TaskId] = ()) -> None:
        """Take new tasks and new words for old ones; those that work or are merged stay as they are, but for `also`.

        One that was dropped and is there again, to be done, is taken up again.

        Raises:
            PlanError: the tasks do not hold together.
        """
        updated = dict(self.tasks)
        revived = []
        for task in tasks:
            fresh = replace(task, status=TaskStatus.TODO)
            known = updated.get(task.id)
            if known is None:
                updated[task.id] = TaskState(fresh)
            elif known.phase in {TaskPhase.PENDING, *HOPELESS} or task.id in also:
                updated[task.id] = replace(known, task=fresh)
                if known.phase is TaskPhase.DROPPED and task.status is TaskStatus.TODO:
                    revived.append(task.id)
        graph = graph_of([known.task for known in updated.values()])
        self.tasks = updated
        self.set(graph=graph)
        self.plan_changed = True
        self.count_dependencies()
        for task_id in revived:
            self.retry(task_id)

    def drop(self, task_id: TaskId, reason: str) -> None:
        """Take a task out of the plan, with what it asked of people."""
        self.set(holds={item: hold for item, hold in self.state.holds.items() if hold.task_id != task_id})
        self.move(task_id, TaskPhase.DROPPED, reason=reason)

    def retry(self, task_id: TaskId) -> None:
        """Let a task that failed or was dropped begin anew, and those hope again that wait for it."""
        self.move(task_id, TaskPhase.PENDING, failures=0, resolves=0, reason="")

    def count_dependencies(self) -> None:
        """Count anew what each pending task waits for; block those that wait for what failed, and no others."""
        self.missing.clear()
        self.ready.clear()
        for task_id, known in self.tasks.items():
            if known.phase is TaskPhase.PENDING:
                self._pend(task_id)
        # a move may carry others with it
        for task_id in list(self.tasks):
            known = self.tasks[task_id]
            if known.phase is TaskPhase.PENDING and self._is_blocked(known.task):
                self.move(task_id, TaskPhase.BLOCKED, reason=self._why_blocked(known.task))
        for task_id in list(self.tasks):
            known = self.tasks[task_id]
            if known.phase is TaskPhase.BLOCKED and not self._is_blocked(known.task):
                self.move(task_id, TaskPhase.PENDING, reason="")

    def _is_blocked(self, task: Task) -> bool:
        return any(self.tasks[dep].phase in HOPELESS for dep in task.deps)

    def _pend(self, task_id: TaskId) -> None:
        count = sum(self.tasks[dep].phase is not TaskPhase.MERGED for dep in self.tasks[task_id].task.deps)
        self.missing[task_id] = count
        if count == 0:
            insort(self.ready, task_id, key=self.state.graph.priority)

    def _unready(self, task_id: TaskId) -> None:
        if self.missing.pop(task_id, None) == 0:
            self.ready.remove(task_id)

    def _release_dependents(self, task_id: TaskId) -> None:
        for follower in self.state.graph.dependents.get(task_id, ()):
            if follower in self.missing:
                self.missing[follower] -= 1
                if self.missing[follower] == 0:
                    insort(self.ready, follower, key=self.state.graph.priority)

    def _block_dependents(self, task_id: TaskId) -> None:
        for follower in self.state.graph.dependents.get(task_id, ()):
            if self.tasks[follower].phase is TaskPhase.PENDING:
                self.move(follower, TaskPhase.BLOCKED, reason=self._why_blocked(self.tasks[follower].task))

    def _unblock_dependents(self, task_id: TaskId) -> None:
        for follower in self.state.graph.dependents.get(task_id, ()):
            known = self.tasks[follower]
            if known.phase is TaskPhase.BLOCKED and not self._is_blocked(known.task):
                self.move(follower, TaskPhase.PENDING, reason="")

    def _why_blocked(self, task: Task) -> str:
        bad = [f"{dep} {self.tasks[dep].phase.value}" for dep in task.deps if self.tasks[dep].phase in HOPELESS]
        return "waits for " + ", ".join(bad)

    # findings

    def open_findings(self) -> list[FindingState]:
        """Return the findings that keep the run from being green."""
        return [known for known in self.state.findings.values() if known.status is FindingStatus.OPEN]

    def add_finding(self, finding: Finding, *, blocking: bool, round_number: int) -> FindingState:
        """Take in what a gate said: a new finding, or one that is known by its fingerprint."""
        identity = fingerprint(finding)
        known = next((k for k in self.state.findings.values() if k.fingerprint == identity), None)
        if known is None:
            new_id = FindingId(f"F{len(self.state.findings) + 1}")
            status = FindingStatus.OPEN if blocking else FindingStatus.LATER
            result = FindingState(replace(finding, id=new_id), identity, status, round_number)
        elif known.status is FindingStatus.WAIVED:
            result = replace(known, last_round=round_number)
        else:
            again = known.last_round != round_number
            times = known.times + again
            status = FindingStatus.OPEN if blocking else known.status
            # its gate may think less of it by now, but for what people asked for
            less = not blocking and again and finding.category is not Category.SECURITY and not known.finding.source
            if less and status is FindingStatus.OPEN:
                status = FindingStatus.LATER
            # the newest words and place, under the old id: the code around it may have moved
            source, revision = known.finding.source, known.finding.revision
            newest = replace(finding, id=known.finding.id, source=source, revision=revision)
            result = replace(known, finding=newest, status=status, last_round=round_number, times=times)
        self.put_finding(result)
        return result

    def put_finding(self, known: FindingState) -> None:
        """Store a finding's state."""
        if known.finding.id is None:
            raise InvalidTransitionError(f"finding without an id: {known.fingerprint}")
        self.set(findings={**self.state.findings, known.finding.id: known})

    def merged(self, name: str, commit: CommitId, *, changed: bool = True) -> None:
        """Note that the branch moved; unless it `changed`, to a commit with the very same tree."""
        if commit == self.state.tip:
            return
        same_tree = () if changed or self.state.rules.decisions < 6 else (*self.state.same_tree, self.tip)
        self.set(tip=commit, batch=(*self.state.batch, (name, commit)), same_tree=same_tree)
