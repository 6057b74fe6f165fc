"""A world for the scheduler: answers its effects with events, in any order, with any luck."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from codexteam.core.budget_amounts import Unit
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.command_ending import Ending
from codexteam.core.contest import Trial, UnseenTests
from codexteam.core.effects import (
    AdvanceBranch,
    AskPerson,
    Awaited,
    CheckBase,
    CheckCandidate,
    Clarify,
    Document,
    Effect,
    Finish,
    Integrate,
    IntegrateExtra,
    JudgeAttempts,
    Land,
    MakePlan,
    Prepare,
    Release,
    Replan,
    Result,
    RunGate,
    Scout,
    StackCandidate,
    TryAttempt,
    Work,
    WriteHiddenTests,
    WritePlan,
)
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptsJudged,
    AttemptSucceeded,
    AttemptTried,
    BaseCheck,
    BaseChecked,
    BranchMoved,
    BudgetRefused,
    CandidateAccepted,
    CandidateStacked,
    Clarified,
    Continued,
    Documented,
    Event,
    ExtraIntegrated,
    GateFinished,
    HiddenTestsWritten,
    Integrated,
    IntegrationConflicted,
    Landed,
    MergeRefused,
    Planned,
    PlanningFailed,
    Released,
    Replanned,
    RunPrepared,
    RunStarted,
    Scouted,
    Verdict,
)
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, GateName, RunId, TaskId
from codexteam.core.merge_train import acceptance_commands
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from tests.unit.core.run_invariants import check

Luck = Callable[[str, int], int]
"""Gives 0 to n-1 for a question; 0 is always the good answer."""


def always_good(question: str, choices: int) -> int:
    return 0


ASKS_MODELS = (Scout, MakePlan, Work, WriteHiddenTests, JudgeAttempts, Clarify, RunGate, Replan, Document, Release)


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
    refused: bool = False
    """Whether a budget was too small once: what it refused continues beside what began meanwhile."""
    parents: dict[CommitId, CommitId] = field(default_factory=dict)
    """What each stacked commit was stacked on."""
    trees: dict[CommitId, CommitId] = field(default_factory=dict)
    """The oldest commit with the very tree of each."""
    passed: dict[CommitId, set[str]] = field(default_factory=dict)
    """The commands that passed on a commit."""
    most_checks: int = 0

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
                self.may_finish(effect)
        working = sum(isinstance(effect, Work) for effect in self.state.in_flight.values())
        self.most_working = max(self.most_working, working)
        checks = sum(isinstance(effect, CheckCandidate) for effect in self.state.in_flight.values())
        self.most_checks = max(self.most_checks, checks)
        return effects

    def may_finish(self, effect: Finish) -> None:
        """Check that what is green was judged on the very tree that is landed, whatever the state says of trees."""
        landed = self.state.landed
        if effect.result is not Result.GREEN or landed is None:
            return
        for gate in self.state.rules.gates:
            judged = self.state.gates[gate].commit
            assert self.trees.get(judged, judged) == self.trees.get(landed, landed), f"{gate} judged another tree"

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
            if isinstance(effect, AdvanceBranch):
                self.may_advance(effect)
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
        if isinstance(effect, ASKS_MODELS) and self.luck("budget", 14) == 13:
            scope = ("run", "role", "task")[self.luck("scope", 3)]
            self.refused = True
            return BudgetRefused(effect.key, "too little", BudgetScope(scope, "", Unit.TOKENS, 1_000, 9_000, 1_000))
        match effect:
            case Prepare():
                return RunPrepared(self.commit())
            case CheckBase():
                return self.base_checked(effect)
            case Scout():
                return Scouted()
            case MakePlan():
                if self.luck("plan", 4) == 3:
                    return PlanningFailed("no idea")
                return Planned(Plan("goal", "summary", self.tasks))
            case Work():
                return self.work(effect)
            case WriteHiddenTests():
                written = self.luck("hidden", 3) < 2
                tests = UnseenTests(self.commit(), ("t.py",), "pytest t.py") if written else UnseenTests(note="none")
                return HiddenTestsWritten(effect.task_id, effect.number, tests)
            case TryAttempt():
                return AttemptTried(effect.task_id, effect.attempt, self.trial(effect))
            case JudgeAttempts():
                several = [each.attempt for each in effect.contenders]
                chosen = [*several, 0][self.luck("judge", len(several) + 1)]
                return AttemptsJudged(effect.task_id, effect.number, chosen, "it reads better")
            case Clarify():
                return Clarified(effect.task_id, effect.attempt, "forty-two", ask_user=self.luck("clarify", 4) == 3)
            case StackCandidate():
                return self.stack(effect)
            case CheckCandidate():
                return self.check(effect)
            case AdvanceBranch():
                return self.advance(effect)
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

    def base_checked(self, effect: CheckBase) -> Event:
        ending = (Ending.PASSED, Ending.FAILED, Ending.CANNOT_RUN, Ending.NOTHING_RAN)[self.luck("base", 4)]
        commands = ("pytest", *effect.acceptance) if effect.gates else effect.acceptance
        checks = tuple(BaseCheck(each, ending, 1, gate=each == "pytest") for each in commands)
        return BaseChecked(effect.number, effect.commit, checks, "an image")

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

    def trial(self, effect: TryAttempt) -> Trial:
        lines = 10 * (1 + self.luck(f"lines {effect.task_id}", 3))
        match self.luck(f"try {effect.task_id}", 6):
            case 3:
                return Trial(("pytest",), lines=lines, evidence="1 failed")
            case 4:
                return Trial(hidden_failed=2, lines=lines)
            case 5:
                return Trial(hits=1, lines=lines)
            case _:
                return Trial(lines=lines)

    def stack(self, effect: StackCandidate) -> Event:
        if self.luck(f"stack {effect.task_id}", 6) == 5:
            return IntegrationConflicted(effect.task_id, effect.attempt, ("a.py",), "CONFLICT", effect.number)
        commit = self.commit()
        self.parents[commit] = effect.onto
        changed = self.luck(f"changed {effect.task_id}", 4) < 3
        self.trees[commit] = commit if changed else self.trees.get(effect.onto, effect.onto)
        return CandidateStacked(effect.task_id, effect.attempt, effect.number, commit, changed)

    def check(self, effect: CheckCandidate) -> Event:
        if self.luck(f"check {effect.task_id}", 6) == 5:
            return AcceptanceFailed(effect.task_id, effect.attempt, "1 failed", effect.number)
        known = [each.task for each in self.state.tasks.values() if each.task.id in {effect.task_id, *effect.riders}]
        self.passed.setdefault(effect.commit, set()).update(acceptance_commands(*known))
        return CandidateAccepted(effect.task_id, effect.attempt, effect.number)

    def advance(self, effect: AdvanceBranch) -> Event:
        if self.luck("hook", 8) == 7:
            refused = effect.merges[self.luck("refused", len(effect.merges))]
            return MergeRefused(refused.task_id, refused.attempt, "no licence header", refused.number)
        return BranchMoved(effect.commit, effect.merges)

    def may_advance(self, effect: AdvanceBranch) -> None:
        """Check that the tip moves to nothing that did not pass on exactly that tree."""
        assert effect.onto == self.state.tip
        assert effect.merges[-1].commit == effect.commit
        ahead = effect.onto
        for merge in effect.merges:
            assert merge.commit == ahead or self.parents[merge.commit] == ahead, "stacked on what is merged before it"
            ahead = merge.commit
        ends = [
            merge.commit
            for merge in effect.merges
            if {*acceptance_commands(self.state.tasks[merge.task_id].task)} <= self.passed.get(merge.commit, set())
        ]
        assert ends, "nothing passed"
        assert ends[-1] == effect.commit, "what the tip moves to has passed itself"
        unproven: set[str] = set()
        for merge in effect.merges:
            unproven |= {*acceptance_commands(self.state.tasks[merge.task_id].task)}
            unproven -= self.passed.get(merge.commit, set())
        assert not unproven, f"{unproven} passed on no tree that holds the work"

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
        ran = int(effect.gate is GateName.CI)
        severity = Severity.MUST_FIX if luck in {5, 6} else Severity.SHOULD_FIX
        category = Category.SECURITY if effect.gate is GateName.SECURITY else Category.CORRECTNESS
        found = (Finding(f"problem {'abcdefgh'[effect.round % 8]}", "detail", severity, category, gate=effect.gate),)
        match luck:
            case 5 | 6:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.BLOCK, found)
            case 7:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.UNANSWERED, note="timeout")
            case 4:
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, found, ran=ran)
            case _:
                tests = (
                    self.commit() if effect.gate is GateName.QA and luck == 3 and not effect.only_tests_since else None
                )
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, tests_commit=tests, ran=ran)


def tasks(*specs: str) -> tuple[Task, ...]:
    """Make tasks from `T1`, `T2:T1,T3` (dependencies), `T1@a.py` (paths) and `T1@` (none); else each writes its own file."""
    made = []
    for spec in specs:
        head, at, paths = spec.partition("@")
        name, _, deps = head.partition(":")
        globs = [glob for glob in paths.split(",") if glob] if at else [f"{name}.txt"]
        made.append(
            Task(
                TaskId(name),
                f"task {name}",
                deps=tuple(TaskId(dep) for dep in deps.split(",") if dep),
                paths=tuple(globs),
            )
        )
    return tuple(made)


def accepted_by(command: str, *specs: str) -> tuple[Task, ...]:
    """Make tasks that a command accepts; `{}` in it is the task's name."""
    return tuple(
        replace(task, acceptance=(Acceptance("it passes", command.format(task.id)),)) for task in tasks(*specs)
    )


__all__ = ["AskPerson", "Result", "World", "WritePlan", "accepted_by", "always_good", "tasks"]
