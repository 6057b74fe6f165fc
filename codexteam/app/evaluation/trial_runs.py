"""Runs of trials: `codexteam run` as a process of its own, in a repository of the base commit and its ancestors alone."""

import asyncio
import json
import shutil
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.adapters.machine.own_commands import OwnCommands
from codexteam.app.project import find_project, live_process, overview, reading_store
from codexteam.core.budget_shares import budget_word
from codexteam.core.eval_task import Arm, ArmKind, EvalTask
from codexteam.core.eval_trials import RanCandidate, TrialKey, TrialSpend
from codexteam.core.ids import CommitId, RunId
from codexteam.report.overview import RunOverview
from codexteam.system.cancellation import stopped

#: What a run with one agent alone is told: one task, no scouts, no gates, no later steps, no path that is not its own.
SOLO_OPTIONS = tuple(
    word
    for line in (
        "codexteam.gates.enabled=[]",
        "codexteam.gates.allow_unchecked=true",
        'codexteam.gates.untested="allow"',
        'codexteam.steps.scouts="off"',
        'codexteam.steps.analyst="off"',
        'codexteam.steps.documentation="off"',
        'codexteam.steps.release="off"',
        'codexteam.scope="warn"',
        'codexteam.allow_guarded=["**"]',
        "codexteam.limits.max_lookups=0",
    )
    for word in ("-c", line)
)
SOLO_PLAN = """# Plan: One agent alone

## Goal

Reach the goal of the run.

## Tasks

- [ ] **T1** Do all that the goal of the run asks for `implementer` (effort 3)
  - tests: none
"""
#: States of runs that another session would continue.
_UNFINISHED = frozenset({"running", "interrupted"})


@dataclass(slots=True)
class TrialRuns:
    """Makes the runs of one evaluation, below its folder."""

    folder: Path
    environment: Mapping[str, str]
    options: tuple[str, ...]
    """Options for all commands, which every run gets."""
    sleep: Callable[[float], Coroutine[None, None, None]]
    say: Callable[[str], None]
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def place(self, key: TrialKey, candidate: int) -> Path:
        """Return the repository of a run."""
        return self.folder / "trials" / key.task / key.arm / str(key.repeat) / str(candidate) / "repository.git"

    def signal(self, number: int) -> None:
        """Pass a signal on to all runs at work."""
        for process in self._processes.values():
            _send(process, number)

    async def pause(self, seconds: float) -> None:
        """Wait before something is tried again."""
        await self.sleep(seconds)

    async def run(self, wanted: "WantedRun") -> RanCandidate:
        """Begin a run, or continue one that was cut off, and return what came of it."""
        task, arm = wanted.task, wanted.arm
        place = self.place(wanted.key, wanted.number)
        known = await _run_in(place, self.environment) if place.exists() else None
        if known is None:
            await asyncio.to_thread(self._prepare, place, wanted.base)
        verb = "run" if known is None else "resume"
        timed_out, code, problem = False, 0, ""
        if known is None or known.record.state in _UNFINISHED:
            words = [*self.options, *arm.options, *(SOLO_OPTIONS if arm.kind is not ArmKind.TEAM else ())]
            if task.dockerfile:
                words += ["-c", f"codexteam.sandbox.dockerfile={json.dumps(task.dockerfile)}"]
            words += ["-C", str(place), verb, "--json"]
            words += ["--plan", str(self._solo_plan())] if verb == "run" and arm.kind is not ArmKind.TEAM else []
            for unit, amount in wanted.budget.items():
                words += ["--budget", budget_word(unit, amount)]
            words += ["-"] if verb == "run" else []
            code, timed_out, problem = await self._follow(wanted.name, words, task.goal, wanted.seconds)
            known = await _run_in(place, self.environment)
        return _ran(known, code, timed_out=timed_out, problem=problem)

    def _solo_plan(self) -> Path:
        file = self.folder / "solo-plan.md"
        if not file.exists():
            file.write_text(SOLO_PLAN, encoding="utf-8")
        return file

    def _prepare(self, place: Path, base: tuple[Path, CommitId]) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        repository = EvalRepository(place, self.environment.get("PATH"))
        repository.make()
        repository.point_head(repository.take_commit(*base))

    async def _follow(self, name: str, words: Sequence[str], goal: str, seconds: float | None) -> tuple[int, bool, str]:
        problems: list[str] = []
        ended = asyncio.ensure_future(
            OwnCommands(Path("/"), ()).follow(
                words,
                goal.encode("utf-8", "replace"),
                started=lambda process: self._processes.__setitem__(name, process),
                on_line=lambda line: _take(line, problems, lambda text: self.say(f"{name}: {text}")),
                on_said=lambda _line: None,
            )
        )
        timer = asyncio.ensure_future(self.sleep(seconds)) if seconds is not None else None
        try:
            await asyncio.wait({ended, *([timer] if timer else ())}, return_when=asyncio.FIRST_COMPLETED)
            late = not ended.done()
            if late and (process := self._processes.get(name)) is not None:
                _send(process, signal.SIGTERM)
            return await ended, late, problems[-1] if problems else ""
        finally:
            self._processes.pop(name, None)
            if timer is not None:
                await stopped(timer)
            if not ended.done():
                await stopped(ended)


@dataclass(frozen=True, slots=True)
class WantedRun:
    """One run of a trial, and what it may take."""

    task: EvalTask
    arm: Arm
    key: TrialKey
    number: int
    """Which of the trial's runs, counted from 1."""
    base: tuple[Path, CommitId]
    """The repository that has the base commit, and that commit."""
    budget: Mapping[str, float]
    seconds: float | None

    @property
    def name(self) -> str:
        return f"{self.key}/{self.number}"


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):  # it has ended, and what it said is still being read
        process.send_signal(signal.Signals(number))


def _take(line: bytes, problems: list[str], say: Callable[[str], None]) -> None:
    try:
        record = json.loads(line)
    except ValueError:
        return
    if not isinstance(record, dict):
        return
    kind = record.get("kind")
    if record.get("type") == "error":
        problems.append("; ".join(filter(None, (str(record.get("message", "")), str(record.get("hint", ""))))))
    elif kind == "run.opened":
        say(f"run {record.get('run')}")
    elif kind == "run.broken_off":
        problems.append(str(record.get("reason", "")))


async def _run_in(place: Path, environment: Mapping[str, str]) -> RunOverview | None:
    """Return the run that a trial's repository has; None where there is none yet."""
    project = find_project(place, environment)
    if not project.store_path.exists():
        return None
    async with reading_store(project) as store:
        records = await store.runs()
        return await overview(store, records[0], live_process(project)) if records else None


def _ran(run: RunOverview | None, code: int, *, timed_out: bool, problem: str) -> RanCandidate:
    if run is None:
        return RanCandidate("", code or 1, "", TrialSpend(), timed_out, problem or "the run did not begin")
    progress, state = run.progress, run.state
    unknown = progress.unknown
    usd, credits_ = progress.usd, progress.credits
    spend = TrialSpend(
        progress.usage.total_tokens + unknown.tokens,
        None if usd is None or unknown.usd is None else usd + unknown.usd,
        None if credits_ is None or unknown.calls else credits_,
        sum(agent.turn for agent in progress.agents.values()),
        progress.at_work_seconds,
    )
    commit = str(state.landed) if state.landed is not None and state.landed != state.base else ""
    result = progress.result
    reason = problem or ("" if result == "green" else progress.reason)
    return RanCandidate(RunId(run.record.run_id), code or progress.exit_code, commit, spend, timed_out, reason)
