"""A world for the scheduler: answers its effects with events, in any order, with any luck."""

from collections.abc import Callable
from dataclasses import dataclass, field

from codexteam.core.effects import (
    AskPerson,
    Awaited,
    Clarify,
    Document,
    Effect,
    Finish,
    Integrate,
    IntegrateExtra,
    Land,
    MakePlan,
    Prepare,
    Release,
    Replan,
    Result,
    RunGate,
    Scout,
    Work,
    WritePlan,
)
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    Clarified,
    Continued,
    Documented,
    Event,
    ExtraIntegrated,
    GateFinished,
    Integrated,
    IntegrationConflicted,
    Landed,
    Planned,
    PlanningFailed,
    Released,
    Replanned,
    RunPrepared,
    RunStarted,
    Scouted,
    Verdict,
)
from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.ids import CommitId, RunId, TaskId
from codexteam.core.invariants import check
from codexteam.core.plan import Plan, Task
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step

Luck = Callable[[str, int], int]
"""Gives 0 to n-1 for a question; 0 is always the good answer."""


def always_good(question: str, choices: int) -> int:
    return 0


@dataclass
class World:
    """Runs a plan to an end. `luck` decides what happens, `pick` which effect is answered next."""

    tasks: tuple[Task, ...]
    rules: Rules = field(default_factory=Rules)
    luck: Luck = always_good
    pick: Callable[[int], int] = lambda n: 0
    crash: Callable[[], bool] = lambda: False
    new_rules: Callable[[], Rules | None] = lambda: None
    """The limits that `resume` finds after a crash; None where they are as before."""
    state: RunState = field(init=False)
    history: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    finished: Finish | None = None
    commits: int = 0
    most_working: int = 0

    def __post_init__(self) -> None:
        self.state = RunState(RunId("20261121-0231-7f3a"), "goal", self.rules)

    def send(self, event: Event) -> tuple[Effect, ...]:
        before = self.state
        self.state, effects = step(before, event)
        check(self.state, before)
        self.history.append(event)
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Finish):
                self.finished = effect
        working = sum(isinstance(effect, Work) for effect in self.state.in_flight.values())
        self.most_working = max(self.most_working, working)
        return effects

    def commit(self) -> CommitId:
        self.commits += 1
        return CommitId(f"{self.commits:040x}")

    def run(self, *, max_steps: int = 20_000) -> Finish:
        if not self.history:
            self.send(RunStarted())
        while self.finished is None:
            assert len(self.history) < max_steps, "it does not end"
            if self.crash():  # all that was in flight is lost; the state is what was stored
                self.send(Continued(self.new_rules()))
                continue
            waiting = sorted(self.state.in_flight)
            effect = self.state.in_flight[waiting[self.pick(len(waiting))]]
            self.send(self.answer(effect))
        return self.finished

    def go_on(self, *, person: Callable[[str], Answered]) -> Finish:
        """Answer everything that waits for a person, and run on."""
        while self.state.holds:
            self.send(person(min(self.state.holds)))
        self.finished = None
        self.send(Continued(self.new_rules()))
        return self.run()

    def answer(self, effect: Awaited) -> Event:
        match effect:
            case Prepare():
                return RunPrepared(self.commit())
            case Scout():
                return Scouted()
            case MakePlan():
                if self.luck("plan", 4) == 3:
                    return PlanningFailed("no idea")
                return Planned(Plan("goal", "summary", self.tasks))
            case Work():
                return self.work(effect)
            case Clarify():
                return Clarified(effect.task_id, effect.attempt, "forty-two", ask_user=self.luck("clarify", 4) == 3)
            case Integrate():
                return self.integrate(effect)
            case IntegrateExtra():
                return ExtraIntegrated(effect.name, self.commit() if self.luck("extra", 3) < 2 else None)
            case RunGate():
                return self.gate(effect)
            case Replan():
                wanted = effect.findings[: len(effect.findings) - self.luck("replan", 2)]
                fixes = tuple(Task(TaskId(f"T{900 + n}"), f.title, fixes=(f.id,)) for n, f in enumerate(wanted) if f.id)
                return Replanned(effect.round, Plan("goal", "fix", fixes))
            case Document():
                return Documented(self.commit() if self.luck("document", 2) else None)
            case Release():
                return Released()
            case Land():
                return Landed("refs/heads/codexteam/x", effect.commit)

    def work(self, effect: Work) -> Event:
        match self.luck(f"work {effect.task_id}", 6):
            case 3:
                return AttemptFailed(effect.task_id, effect.attempt, "tests fail", "E")
            case 4:
                return AttemptAsked(effect.task_id, effect.attempt, "which?")
            case 5:
                return AttemptSucceeded(effect.task_id, effect.attempt, None, "nothing to do")
            case _:
                return AttemptSucceeded(effect.task_id, effect.attempt, self.commit(), "done", later=("idea",))

    def integrate(self, effect: Integrate) -> Event:
        match self.luck(f"integrate {effect.task_id}", 6):
            case 4:
                return IntegrationConflicted(effect.task_id, effect.attempt, ("a.py",), "CONFLICT")
            case 5:
                return AcceptanceFailed(effect.task_id, effect.attempt, "1 failed")
            case _:
                return Integrated(effect.task_id, effect.attempt, self.commit() if effect.commit else effect.onto)

    def gate(self, effect: RunGate) -> Event:
        luck = self.luck(f"gate {effect.gate}", 8)
        severity = Severity.MUST_FIX if luck in {5, 6} else Severity.SHOULD_FIX
        category = Category.SECURITY if effect.gate is GateName.SECURITY else Category.CORRECTNESS
        found = (Finding(f"problem {'abcdefgh'[effect.round % 8]}", "detail", severity, category, gate=effect.gate),)
        match luck:
            case 5 | 6:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.BLOCK, found)
            case 7:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED, note="timeout")
            case 4:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, found)
            case _:
                tests = (
                    self.commit() if effect.gate is GateName.QA and luck == 3 and not effect.only_tests_since else None
                )
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, tests_commit=tests)


def tasks(*specs: str) -> tuple[Task, ...]:
    """Make tasks from `T1`, `T2:T1,T3` (dependencies) and `T1@a.py` (paths)."""
    made = []
    for spec in specs:
        head, _, paths = spec.partition("@")
        name, _, deps = head.partition(":")
        made.append(
            Task(
                TaskId(name),
                f"task {name}",
                deps=tuple(TaskId(dep) for dep in deps.split(",") if dep),
                paths=tuple(paths.split(",")) if paths else (),
            )
        )
    return tuple(made)


__all__ = ["AskPerson", "Result", "World", "WritePlan", "always_good", "tasks"]
