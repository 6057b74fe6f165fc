"""`run --fan-out`: the same goal in several repositories, each as a run of its own, under one command and one budget."""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codexteam.adapters.machine.own_commands import OwnCommands
from codexteam.app.repositories import NamedRepository
from codexteam.app.signals import Signals, run_guarded_by_signals
from codexteam.core.budget_shares import BudgetShares, budget_word
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.event_lines import event_of
from codexteam.report.progress import Progress
from codexteam.system.cancellation import together

#: Runs that are at work at the same time: each has agents, sandboxes and tests of its own.
AT_ONCE = 4
#: Exit codes from here on are of runs that a signal ended.
_SIGNALS = 128
#: Repositories ended in different ways: finished, not green.
_DIFFERENT = 3


@dataclass(slots=True)
class FannedRun:
    """One repository's run, followed from what its process prints."""

    name: str
    place: Path
    progress: Progress = field(default_factory=Progress)
    exit_code: int | None = None
    """None until it has ended; one that was never started keeps it."""
    problem: str = ""
    """Why it broke off, or did not begin."""
    pull: str = ""
    """The address of its pull request."""


class FanOutDisplay(Protocol):
    """Shows what happens."""

    def line(self, run: FannedRun, record: JSONObject, event: RunEvent | None) -> None:
        """Show one record of a run; `event` where it is a fact of the run."""
        ...

    def warned(self, run: FannedRun, text: str) -> None:
        """Show a warning of a run's process."""
        ...


@dataclass(frozen=True, slots=True)
class FanOutOrder:
    """What is to be done where."""

    repositories: tuple[NamedRepository, ...]
    goal: str
    options: tuple[str, ...]
    """Options that stand before every command."""
    flags: tuple[str, ...]
    """Flags of `run`."""
    budget: Mapping[str, float]
    """Unit to what all runs may use together; empty: each has what its own configuration says."""


def fan_out(order: FanOutOrder, display: FanOutDisplay) -> tuple[list[FannedRun], int]:
    """Run the goal in every repository; return how each ended, and the exit code of all."""
    return run_guarded_by_signals(lambda signals: _FanOut(order, display).drive(signals))


class _FanOut:
    def __init__(self, order: FanOutOrder, display: FanOutDisplay) -> None:
        self._order = order
        self._display = display
        self._runs = [FannedRun(each.name, each.places.root) for each in order.repositories]
        self._shares = BudgetShares(dict(order.budget), len(self._runs))
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopped_by: int | None = None

    async def drive(self, signals: Signals) -> tuple[list[FannedRun], int]:
        room = asyncio.Semaphore(AT_ONCE)
        with signals.driving(self._stop, lambda: None):
            await together(*(self._one(run, room) for run in self._runs))
        if self._stopped_by is not None:
            return self._runs, _SIGNALS + self._stopped_by
        return self._runs, overall_code([run.exit_code for run in self._runs])

    def _stop(self, number: int, _times: int) -> None:
        """Pass a signal on: each run lets its agents finish at the first, and cuts them off at the second."""
        self._stopped_by = number
        for process in self._processes.values():
            process.send_signal(signal.Signals(number))

    async def _one(self, run: FannedRun, room: asyncio.Semaphore) -> None:
        async with room:
            if self._stopped_by is not None:
                run.problem = "not begun: the command was interrupted"
                return
            share = self._shares.begin(run.name)
            words = ["-C", str(run.place), "run", "--json", *self._order.flags]
            for unit, amount in share.items():
                words += ["--budget", budget_word(unit, amount)]
            commands = OwnCommands(Path("/"), self._order.options)
            try:
                run.exit_code = await commands.follow(
                    [*words, "-"],
                    self._order.goal.encode(),
                    started=lambda process: self._began(run, process),
                    on_line=lambda line: self._take(run, line),
                    on_said=lambda line: self._said(run, line),
                )
            finally:
                self._processes.pop(run.name, None)
            self._shares.end(run.name, _used(run.progress))

    def _began(self, run: FannedRun, process: asyncio.subprocess.Process) -> None:
        self._processes[run.name] = process

    def _take(self, run: FannedRun, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        event = event_of(line)
        if event is not None:
            run.progress.take(event)
            run.progress.run_id = run.progress.run_id or str(record.get("run", ""))
            if event.kind == "run.broken_off":
                run.problem = _problem(record.get("reason"), record.get("hint"))
        elif record.get("type") == "error":
            run.problem = run.problem or _problem(record["message"], record.get("hint"))
        elif record.get("type") == "pr.completed":
            run.pull = str(record.get("url", ""))
        self._display.line(run, record, event)

    def _said(self, run: FannedRun, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if text.startswith("warning: "):
            self._display.warned(run, text.removeprefix("warning: "))


def _problem(message: object, hint: object) -> str:
    return "; ".join(str(part) for part in (message, hint) if part)


def _used(progress: Progress) -> dict[str, float | None]:
    """Return the most that a run has used, by unit; None where that is unknown."""
    unknown = progress.unknown
    usd, credits_ = progress.usd, progress.credits
    return {
        "tokens": progress.usage.total_tokens + unknown.tokens,
        "usd": None if usd is None or unknown.usd is None else usd + unknown.usd,
        "credits": None if credits_ is None or unknown.calls else credits_,
    }


def overall_code(codes: Sequence[int | None]) -> int:
    """Return the exit code of several runs: what all that failed have in common, else 3."""
    failed = {1 if code is None else code for code in codes} - {0}
    if not failed:
        return 0
    return failed.pop() if len(failed) == 1 else _DIFFERENT
