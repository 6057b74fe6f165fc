"""One evaluation: every task, by every arm, as often as is wanted, under one budget; it can be continued at any time.

What is done is kept in a store of the evaluation's own: the share of the budget before a run begins, the run when it has
ended, the record when it is graded. What was cut off in between is taken up where it was.
"""

import asyncio
import signal
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from codexteam.app.evaluation.grading import CheckedTask
from codexteam.app.evaluation.trial_runs import WantedRun
from codexteam.app.signals import Signals
from codexteam.core.budget_shares import BudgetShares
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.eval_task import Arm, ArmKind, EvalTask
from codexteam.core.eval_trials import (
    GradedWork,
    RanCandidate,
    TrialKey,
    TrialRecord,
    TrialSpend,
    TrialVerdict,
    another_fits,
    left_of,
    ordered_arms,
    verdict_of,
)
from codexteam.core.ids import CommitId
from codexteam.ports.store import Store
from codexteam.system.cancellation import stopped, together

_T = TypeVar("_T")

#: What fails for its surroundings is tried so often again, after a pause that doubles: a service that is away is back by
#: then, or is away for longer than it is worth to wait.
_RETRIES, _PAUSE_SECONDS = 2, 30.0
#: Spaces of the store.
RECORDS, _RAN, _SHARES, _CHECKED = "eval/records", "eval/ran", "eval/shares", "eval/checked"


class Runs(Protocol):
    """Makes the runs of trials; `trial_runs.TrialRuns` is the one there is."""

    def place(self, key: TrialKey, candidate: int) -> Path: ...

    def signal(self, number: int) -> None: ...

    async def run(self, wanted: WantedRun) -> RanCandidate: ...

    async def pause(self, seconds: float) -> None: ...


class Grades(Protocol):
    """Judges tasks and work; `grading.TaskGrading` is the one there is."""

    def place(self, task: EvalTask) -> Path: ...

    async def check(self, task: EvalTask) -> CheckedTask: ...

    async def grade(self, task: EvalTask, checked: CheckedTask, repository: Path, commit: str) -> GradedWork: ...

    async def visible(self, task: EvalTask, repository: Path, commit: str) -> tuple[int, int]: ...


class EvalDisplay(Protocol):
    """Shows what happens."""

    def checked(self, task: EvalTask, found: CheckedTask) -> None:
        """Show what a look at a task said."""
        ...

    def done(self, record: TrialRecord, count: int, total: int) -> None:
        """Show a trial's record; so many of all are done."""
        ...

    def stopping(self) -> None:
        """Show that a signal came, and that runs at work end first."""
        ...


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class TrialShare:
    """What a trial was given of the budget; nothing where it gave all of it back, as no run was begun."""

    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvalOrder:
    """What is to be evaluated."""

    tasks: tuple[EvalTask, ...]
    arms: tuple[Arm, ...]
    repeats: int
    budget: Mapping[str, float]
    """Unit to what all of it may use; empty: each run has what its configuration says."""
    seconds: float | None
    """How long a run may take; None is as long as its task says."""
    jobs: int
    """Tasks that are worked on at the same time."""


class _Stopped(Exception):  # noqa: N818 - how work in progress is left
    """A signal came: nothing more is begun, and nothing that was cut off is recorded."""


@dataclass(slots=True)
class Evaluation:
    """One evaluation at work."""

    order: EvalOrder
    store: Store
    runs: Runs
    grades: Grades
    display: EvalDisplay
    _shares: BudgetShares = field(init=False)
    _records: dict[str, TrialRecord] = field(default_factory=dict)
    _seen: dict[str, CheckedTask] = field(default_factory=dict)
    """Tasks that this process looked at."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped_by: int | None = None

    async def drive(self, signals: Signals) -> int | None:
        """Do what is left to do; return the signal that stopped it, None where all is done."""
        await self._restore()
        room = asyncio.Semaphore(self.order.jobs)
        jobs = [
            self._repeat(task, repeat, room) for repeat in range(1, self.order.repeats + 1) for task in self.order.tasks
        ]
        with signals.driving(self._on_signal, lambda: None):
            await together(*jobs)
        return self._stopped_by

    def _on_signal(self, number: int, times: int) -> None:
        self._stopped_by = number
        self._stop.set()
        if times == 1:
            self.display.stopping()
        self.runs.signal(number if times == 1 else signal.SIGTERM)

    @property
    def total(self) -> int:
        """Return how many trials there are."""
        return len(self.order.tasks) * len(self.order.arms) * self.order.repeats

    async def _restore(self) -> None:
        wanted = {str(key) for key in self._keys()}
        done: dict[str, TrialRecord] = {}
        for name, value in await self.store.list(RECORDS):
            record = decode(TrialRecord, value, f"the trial {name}")
            # a trial for which no run was begun cost nothing: what was in its way may be put right by now
            if record.runs:
                done[name] = record
        given = {
            name: share.amounts
            for name, value in await self.store.list(_SHARES)
            if self._is_given(share := decode(TrialShare, value, f"the share of trial {name}"))
        }
        left = dict(self.order.budget)
        for name in given.keys() | done.keys():  # also of arms that are not asked for this time: the budget is one
            taken = done[name].charged if name in done else given[name]
            left = {unit: max(0.0, amount - taken.get(unit, 0.0)) for unit, amount in left.items()}
        self._records.update((name, record) for name, record in done.items() if name in wanted)
        self._shares = BudgetShares(left, len(wanted - given.keys() - done.keys()))
        for name, amounts in given.items():
            if name in wanted and name not in done:
                self._shares.hold(name, {unit: amounts.get(unit, 0.0) for unit in left})

    def _keys(self) -> list[TrialKey]:
        return [
            TrialKey(task.name, arm.name, repeat)
            for task in self.order.tasks
            for arm in self.order.arms
            for repeat in range(1, self.order.repeats + 1)
        ]

    async def _repeat(self, task: EvalTask, repeat: int, room: asyncio.Semaphore) -> None:
        async with room:
            try:
                for arm in ordered_arms(self.order.arms):
                    key = TrialKey(task.name, arm.name, repeat)
                    if str(key) not in self._records:
                        await self._trial(task, arm, key)
            except _Stopped:
                return

    async def _trial(self, task: EvalTask, arm: Arm, key: TrialKey) -> None:
        if self._stop.is_set():
            raise _Stopped
        share = await self._share(key)
        checked = await self._checked(task)
        if checked.problem:
            await self._record(TrialRecord(*_of(key), TrialVerdict.INFRASTRUCTURE, checked.problem, TrialSpend()))
            return
        if any(amount <= 0 for amount in share.values()):
            nothing = "nothing is left of the evaluation's budget"
            await self._record(TrialRecord(*_of(key), TrialVerdict.OVER_BUDGET, nothing, TrialSpend()))
            return
        ran = await self._candidates(task, checked, arm, key, share)
        chosen = await self._chosen(task, key, ran)
        best = ran[chosen - 1]
        graded, graded_again = None, 0
        if best.commit:
            graded, graded_again = await self._graded(task, checked, self.runs.place(key, chosen), best.commit)
        verdict, reason = verdict_of(best, graded)
        spend = sum((one.spend for one in ran), TrialSpend())
        regressed = None if graded is None else graded.regressed
        runs = tuple(one.run_id for one in ran)
        retries = graded_again + sum(one.retries for one in ran)
        await self._record(
            TrialRecord(
                *_of(key), verdict, reason, spend, runs=runs, chosen=chosen, regressed=regressed, retries=retries
            )
        )

    async def _graded(self, task: EvalTask, checked: CheckedTask, place: Path, commit: str) -> tuple[GradedWork, int]:
        """Return what the hidden tests say, and how often they were run again since they could not be run."""
        again = 0
        while True:
            graded = await self._unless_stopped(self.grades.grade(task, checked, place, commit))
            if graded.could_run or again == _RETRIES:
                return graded, again
            again += 1

    async def _share(self, key: TrialKey) -> Mapping[str, float]:
        name = str(key)
        stored_share = await self.store.get(_SHARES, name)
        if stored_share is not None:
            given = decode(TrialShare, stored_share, f"the share of trial {name}")
            if self._is_given(given):
                return {unit: given.amounts.get(unit, 0.0) for unit in self.order.budget}
        share = self._shares.begin(name)
        await self.store.put(_SHARES, name, encode_object(TrialShare(share)))
        return share

    def _is_given(self, share: TrialShare) -> bool:
        """Return whether a stored share is still its trial's."""
        return bool(share.amounts) or not self.order.budget

    async def _checked(self, task: EvalTask) -> CheckedTask:
        if task.name in self._seen:
            return self._seen[task.name]
        known = await self.store.get(_CHECKED, task.name)
        if known is not None:
            before = decode(CheckedTask, known, f"the look at task {task.name}")
            if not before.problem:
                return before
        found = await self._unless_stopped(self.grades.check(task))
        self._seen[task.name] = found
        await self.store.put(_CHECKED, task.name, encode_object(found))
        self.display.checked(task, found)
        return found

    async def _candidates(
        self, task: EvalTask, checked: CheckedTask, arm: Arm, key: TrialKey, share: Mapping[str, float]
    ) -> list[RanCandidate]:
        """Return the runs of a trial; all but those of the best of several are one."""
        budget: dict[str, float] | None = dict(share)
        ran: list[RanCandidate] = []
        team = TrialSpend()
        if arm.kind is ArmKind.BEST:
            name = next(one.name for one in self.order.arms if one.kind is ArmKind.TEAM)
            team = self._records[str(replace(key, arm=name))].spend
        seconds = self.order.seconds if self.order.seconds is not None else task.seconds
        base = self.grades.place(task), CommitId(checked.base)
        while budget is not None and len(ran) < arm.candidates:
            ran.append(await self._candidate(WantedRun(task, arm, key, len(ran) + 1, base, budget, seconds)))
            budget = left_of(share, ran) if another_fits(team, ran) else None
        return ran

    async def _candidate(self, wanted: WantedRun) -> RanCandidate:
        name = wanted.name
        known = await self.store.get(_RAN, name)
        if known is not None:
            return decode(RanCandidate, known, f"the run of {name}")
        if self._stop.is_set():
            raise _Stopped
        ran = await self.runs.run(wanted)
        for retry in range(1, _RETRIES + 1):
            if self._stop.is_set() or not (ran.is_unlucky and ran.run_id):
                break
            # the same run goes on from where it was: it is no other attempt at the task
            await self._unless_stopped(self.runs.pause(_PAUSE_SECONDS * 2 ** (retry - 1)))
            ran = replace(await self.runs.run(wanted), retries=retry)
        if self._stop.is_set():  # cut off by the signal, and taken up later
            raise _Stopped
        await self.store.put(_RAN, name, encode_object(ran))
        return ran

    async def _chosen(self, task: EvalTask, key: TrialKey, ran: Sequence[RanCandidate]) -> int:
        """Return which candidate the repository's own tests speak for; of equal ones the first."""
        if len(ran) == 1:
            return 1
        marks = []
        for number, one in enumerate(ran, start=1):
            seen = (0, 0)
            if one.commit:
                place = self.runs.place(key, number)
                seen = await self._unless_stopped(self.grades.visible(task, place, one.commit))
            marks.append((bool(one.commit), *seen, -number))
        return -max(marks)[-1]

    async def _record(self, record: TrialRecord) -> None:
        name = str(record.key)
        used = record.spend.used()
        share = await self._share(record.key)
        charged = {unit: share[unit] if (amount := used.get(unit)) is None else amount for unit in share}
        record = replace(record, charged=charged)
        await self.store.put(RECORDS, name, encode_object(record))
        if not record.runs:  # others may get its share, so it is given another one when it is tried again
            await self.store.put(_SHARES, name, encode_object(TrialShare({})))
        self._shares.end(name, used)
        self._records[name] = record
        self.display.done(record, len(self._records), self.total)

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Stopped
            return task.result()
        finally:
            await stopped(stop)
            await stopped(task)


def _of(key: TrialKey) -> tuple[str, str, int]:
    return key.task, key.arm, key.repeat
