"""An evaluation with runs and grades that are values: order, one budget, equal spend, verdicts, and taking up again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codexteam.app.evaluation.command import check_arms
from codexteam.app.evaluation.evaluate import RECORDS, EvalOrder, Evaluation
from codexteam.app.evaluation.grading import CheckedTask
from codexteam.app.evaluation.trial_runs import WantedRun
from codexteam.app.signals import Signals
from codexteam.core.eval_task import Arm, EvalTask, HiddenTests, StartFiles, read_arm
from codexteam.core.eval_trials import GradedWork, RanCandidate, TrialKey, TrialRecord, TrialSpend, TrialVerdict
from codexteam.errors import UsageError
from tests.fakes.memory_store import MemoryStore

BASE = "b" * 40
TEAM, SOLO, BEST = (read_arm(word, str.split) for word in ("team", "solo", "best-of-3"))


def tasks(count: int) -> tuple[EvalTask, ...]:
    return tuple(EvalTask(f"t{n}", "goal", StartFiles({}), HiddenTests(("true",))) for n in range(count))


def ran(wanted: WantedRun, *, tokens: int = 100, code: int = 0, commit: str = "c" * 40) -> RanCandidate:
    spend = TrialSpend(tokens, tokens / 1000, None, 2, 5.0)
    return RanCandidate(wanted.name, code, commit, spend, reason="" if code == 0 else f"exit {code}")


@dataclass
class FakeRuns:
    """Runs that end as they are told to, at once."""

    answer: Callable[[WantedRun], RanCandidate] = ran
    made: list[WantedRun] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    def place(self, key: TrialKey, candidate: int) -> Path:
        return Path("/trials") / str(key) / str(candidate)

    def signal(self, number: int) -> None:
        self.signals.append(number)

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    async def run(self, wanted: WantedRun) -> RanCandidate:
        self.made.append(wanted)
        await asyncio.sleep(0)
        return self.answer(wanted)


@dataclass
class FakeGrades:
    """Grades by place."""

    resolves: Callable[[Path], bool] = lambda _place: True
    problem: str = ""
    only: str = ""
    """The task that has the problem; empty for all."""
    speaks_for: int = 1
    could_run: bool = True

    def place(self, task: EvalTask) -> Path:
        return Path("/tasks") / task.name

    async def check(self, task: EvalTask) -> CheckedTask:
        return CheckedTask(BASE, self.problem if self.only in {"", task.name} else "")

    async def grade(self, task: EvalTask, checked: CheckedTask, repository: Path, commit: str) -> GradedWork:
        return GradedWork(self.resolves(repository), regressed=False, could_run=self.could_run, detail="it fails")

    async def visible(self, task: EvalTask, repository: Path, commit: str) -> tuple[int, int]:
        return (1, 1) if repository.name == str(self.speaks_for) else (0, 0)


class Seen:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.records: list[TrialRecord] = []

    def checked(self, task: EvalTask, found: CheckedTask) -> None:
        pass

    def done(self, record: TrialRecord, count: int, total: int) -> None:
        self.records.append(record)

    def stopping(self) -> None:
        pass


async def evaluated(
    arms: tuple[Arm, ...],
    *,
    count: int = 1,
    repeats: int = 1,
    budget: dict[str, float] | None = None,
    runs: FakeRuns | None = None,
    grades: FakeGrades | None = None,
    store: MemoryStore | None = None,
    jobs: int = 2,
) -> dict[str, TrialRecord]:
    order = EvalOrder(tasks(count), arms, repeats, budget or {}, None, jobs)
    seen = Seen()
    work = Evaluation(order, store or MemoryStore(), runs or FakeRuns(), grades or FakeGrades(), seen)
    await work.drive(Signals(asyncio.get_running_loop()))
    return {str(record.key): record for record in seen.records}


async def test_every_task_is_tried_by_every_arm_as_often_as_wanted() -> None:
    found = await evaluated((TEAM, SOLO), count=3, repeats=2)

    assert len(found) == 12
    assert {record.verdict for record in found.values()} == {TrialVerdict.RESOLVED}


async def test_the_runs_together_never_get_more_than_the_budget() -> None:
    def unknown(wanted: WantedRun) -> RanCandidate:
        return RanCandidate(wanted.name, 0, "", TrialSpend(10, None, None))

    budget = {"tokens": 100_000.0, "usd": 10.0}
    known, blind = FakeRuns(), FakeRuns(unknown)
    found = await evaluated((TEAM, SOLO), count=5, budget=budget, runs=known)
    guessed = await evaluated((TEAM, SOLO), count=5, budget=budget, runs=blind)

    assert known.made[0].budget == {"tokens": 10_000.0, "usd": 1.0}
    assert known.made[-1].budget["usd"] > 1.0  # what others did not use is there
    assert sum(record.charged["usd"] for record in found.values()) == pytest.approx(1.0)
    # what nobody knows counts as used, and comes back to nobody
    assert sum(wanted.budget["usd"] for wanted in blind.made) <= 10.0
    assert sum(record.charged["usd"] for record in guessed.values()) == pytest.approx(10.0)


async def test_a_run_whose_surroundings_fail_goes_on_twice_at_most() -> None:
    def away_for(times: int) -> FakeRuns:
        def answer(wanted: WantedRun) -> RanCandidate:
            failed = len(runs.made) <= times
            return RanCandidate("r1", 6, "", TrialSpend(), reason="503") if failed else ran(wanted)

        runs = FakeRuns(answer)
        return runs

    for times, verdict, retries in (
        (1, TrialVerdict.RESOLVED, 1),
        (2, TrialVerdict.RESOLVED, 2),
        (3, TrialVerdict.INFRASTRUCTURE, 2),
    ):
        runs = away_for(times)
        found = await evaluated((TEAM,), runs=runs)
        record = found["t0/team/1"]
        assert (record.verdict, record.retries, runs.paused) == (verdict, retries, [30.0, 60.0][:retries])


async def test_a_run_that_never_began_or_was_asked_wrong_is_not_repeated() -> None:
    for end in (RanCandidate("", 6, "", TrialSpend()), RanCandidate("r1", 2, "", TrialSpend())):

        def answer(_wanted: WantedRun, end: RanCandidate = end) -> RanCandidate:
            return end

        runs = FakeRuns(answer)
        found = await evaluated((TEAM,), runs=runs)
        assert (len(runs.made), found["t0/team/1"].retries) == (1, 0)


async def test_with_nothing_left_no_run_is_begun() -> None:
    runs = FakeRuns()

    found = await evaluated((TEAM,), count=2, budget={"usd": 0.0}, runs=runs)

    assert runs.made == []
    assert {record.verdict for record in found.values()} == {TrialVerdict.OVER_BUDGET}


async def test_the_best_of_several_spends_what_the_team_spent() -> None:
    def by_arm(wanted: WantedRun) -> RanCandidate:
        return ran(wanted, tokens=1_000 if wanted.arm is TEAM else 400)

    runs = FakeRuns(by_arm)
    found = await evaluated((BEST, TEAM), budget={"tokens": 9_000.0}, runs=runs, grades=FakeGrades(speaks_for=2))

    alone = [wanted for wanted in runs.made if wanted.arm is BEST]
    assert [wanted.budget["tokens"] for wanted in alone] == [8_000, 7_600]  # a third would take more than the team
    best = found["t0/best-of-3/1"]
    assert (best.spend.tokens, best.chosen, len(best.runs)) == (800, 2, 2)


@pytest.mark.parametrize(
    ("code", "resolved", "commit", "could_run", "verdict"),
    [
        (0, True, "c" * 40, True, TrialVerdict.RESOLVED),
        (3, True, "c" * 40, True, TrialVerdict.RESOLVED),
        (3, False, "c" * 40, True, TrialVerdict.NOT_RESOLVED),
        (0, False, "", True, TrialVerdict.NOT_RESOLVED),
        (4, False, "c" * 40, True, TrialVerdict.OVER_BUDGET),
        (6, False, "", True, TrialVerdict.INFRASTRUCTURE),
        (0, False, "c" * 40, False, TrialVerdict.INFRASTRUCTURE),
    ],
)
async def test_a_verdict_is_what_tests_say_and_else_why_not(
    code: int, resolved: bool, commit: str, could_run: bool, verdict: TrialVerdict
) -> None:
    runs = FakeRuns(lambda wanted: ran(wanted, code=code, commit=commit))

    found = await evaluated((TEAM,), runs=runs, grades=FakeGrades(lambda _: resolved, could_run=could_run))

    assert found["t0/team/1"].verdict is verdict
    assert bool(found["t0/team/1"].reason) == (verdict is not TrialVerdict.RESOLVED)


async def test_nobody_is_paid_for_a_task_that_cannot_be_resolved() -> None:
    runs = FakeRuns()

    found = await evaluated((TEAM,), runs=runs, grades=FakeGrades(problem="its reference solution fails here"))

    assert runs.made == []
    assert found["t0/team/1"].verdict is TrialVerdict.INFRASTRUCTURE


async def test_a_task_that_could_not_be_set_up_is_tried_again() -> None:
    store = MemoryStore()
    await evaluated((TEAM,), store=store, grades=FakeGrades(problem="it cannot be set up"))

    found = await evaluated((TEAM,), store=store)

    assert found["t0/team/1"].verdict is TrialVerdict.RESOLVED


async def test_a_share_that_others_got_is_not_given_again() -> None:
    store, budget, runs = MemoryStore(), {"usd": 10.0}, FakeRuns(_all_of_it)
    broken = FakeGrades(problem="it cannot be set up", only="t0")
    await evaluated((TEAM,), count=2, budget=budget, store=store, runs=runs, grades=broken, jobs=1)
    assert [wanted.budget["usd"] for wanted in runs.made] == [10.0]

    found = await evaluated((TEAM,), count=2, budget=budget, store=store, runs=runs)

    assert sum(wanted.budget["usd"] for wanted in runs.made) <= 10.0
    assert found["t0/team/1"].verdict is TrialVerdict.OVER_BUDGET

    more = await evaluated((TEAM,), count=2, budget={"usd": 14.0}, store=store, runs=runs)

    assert [wanted.budget["usd"] for wanted in runs.made] == [10.0, 4.0]
    assert more["t0/team/1"].verdict is TrialVerdict.RESOLVED


async def test_what_other_arms_have_spent_is_spent() -> None:
    store, runs = MemoryStore(), FakeRuns(_all_of_it)
    await evaluated((TEAM,), count=1, budget={"usd": 10.0}, store=store, runs=runs)
    await evaluated((SOLO,), count=1, budget={"usd": 12.0}, store=store, runs=runs)

    assert [wanted.budget["usd"] for wanted in runs.made] == [10.0, 2.0]


def _all_of_it(wanted: WantedRun) -> RanCandidate:
    return RanCandidate(wanted.name, 0, "c" * 40, TrialSpend(10, wanted.budget["usd"], None))


async def test_what_is_done_is_not_done_again() -> None:
    store, budget = MemoryStore(), {"tokens": 8_000.0}
    await evaluated((TEAM,), count=2, budget=budget, store=store)
    await store.clear(RECORDS)  # killed between the end of the runs and their grades
    runs = FakeRuns()

    found = await evaluated((TEAM, SOLO), count=2, budget=budget, store=store, runs=runs)

    assert {wanted.arm for wanted in runs.made} == {SOLO}
    assert len(found) == 4
    assert sum(record.charged["tokens"] for record in found.values()) <= 8_000


def test_an_arm_is_a_kind_a_name_and_options() -> None:
    arm = read_arm("fast=best-of-3: -m gpt-5.4 -c a=1", str.split)

    assert (arm.name, arm.kind.value, arm.candidates, arm.options) == (
        "fast",
        "best",
        3,
        ("-m", "gpt-5.4", "-c", "a=1"),
    )
    with pytest.raises(ValueError, match="best-of-N"):
        read_arm("best-of-0", str.split)


def test_arms_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="two arms have this name"):
        check_arms((TEAM, TEAM))
    with pytest.raises(UsageError, match="no arm is a team"):
        check_arms((SOLO, BEST))
