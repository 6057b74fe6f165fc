"""A fault as a row of a table, and what the whole program makes of it.

`endure` runs the three tasks through the real command with one fault in the way. A fault is outlived, or the command
stops with one clear error and its exit code, the fault is taken away, and `resume` brings the run to its end. Either
way the tree and every invariant are those of a run that met nothing.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

import pytest

from codexteam.core.ids import JSONObject
from tests.e2e.world import KEY, Ended, World, fingerprint, processes_of, tree_of
from tests.faults import three_tasks, twelve_tasks
from tests.faults.invariants import Evidence, answered, during, name_of, violations
from tests.faults.killing import machine
from tests.scripted_api import ScriptedApi
from tests.scripted_api.script import Call, Played

#: Whether every row is tried, or the quickest ones alone.
ALL = os.environ.get("CODEXTEAM_FAULTS") == "all"
#: For what takes long and has a shorter sibling that is always tried.
LONG = pytest.mark.skipif(not ALL, reason="the long form: CODEXTEAM_FAULTS=all")
_REPORT = os.environ.get("CODEXTEAM_FAULTS_REPORT", "")
#: More requests than a run ever makes: the fault stays until it is taken away.
UNTIL_MENDED = 1000
_SESSION_SECONDS = 240.0
_STATE_SECONDS = 60.0

Happened: TypeAlias = Callable[["Stage", Ended], list[str]]


@dataclass(slots=True)
class Stage:
    """Where a fault is played: the user's machine, its model, and what a row wants to remember."""

    world: World
    api: ScriptedApi
    environment: dict[str, str] = field(default_factory=dict)
    """More of it for the command."""
    wrapper: list[str] = field(default_factory=list)
    """What the command is started under."""
    mended: threading.Event = field(default_factory=threading.Event)
    struck: list[Call] = field(default_factory=list)
    """Requests that met the fault."""
    told: list[str] = field(default_factory=list)
    """What went wrong with the fault itself."""

    def run(self, *words: str) -> Ended:
        """Run the command to its end."""
        process = subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", "codexteam", *words],
            cwd=self.world.repository,
            env=self.world.environment(**{twelve_tasks.CANARY_NAME: twelve_tasks.CANARY, **self.environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            out, err = process.communicate(timeout=_SESSION_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.told.append(f"it hung: {err[-600:]}")
        return Ended(process.returncode, out, err)

    def inputs(self, task: str, turn: int) -> str:
        """Give what the model was sent for a task's turn."""
        calls = (request.call for request in self.api.requests)
        return json.dumps([call.body["input"] for call in calls if (call.task_id, call.turn) == (task, turn)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row."""

    name: str
    answer: Callable[[Call, Sequence[JSONObject]], Played] | Played | None = None
    """What the model's service says instead; a function gets the call and the items that the script has for it."""
    strike: Callable[[Stage], object] | None = None
    """What happens to the machine when the call comes in, before it is answered."""
    call: tuple[str, int] | None = ("T4", 2)
    """Task and turn that are struck; an empty task is the plan. None strikes every call."""
    times: int = 1
    """How many requests are struck, until it is mended at the latest."""
    around: Callable[[Stage], AbstractContextManager[object]] = nullcontext
    """What the machine is in while the command runs."""
    mend: Callable[[Stage], object] | None = None
    """Takes the fault away after the command stopped."""
    options: tuple[str, ...] = ()
    """Of the first command alone."""
    later: tuple[str, ...] = ()
    """Options of `resume`."""
    always: tuple[str, ...] = ()
    """Options of every command."""
    code: int = 0
    """What the first command ends with."""
    or_code: int | None = None
    """What else it may end with, where it is a matter of moments."""
    says: str = ""
    """What is in its error, in lower case."""
    begun: bool = True
    """Whether there is a run to resume; otherwise the command is given again."""
    free: bool = False
    """Whether the fault is met before any call is made."""
    also: Happened | None = None
    """What else must hold of the first command."""
    usage_known: bool = True
    """Whether the service said what each answer took."""
    short: bool = False
    """Whether it is one of the quick ones that are always tried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened."""

    fault: str
    happened: str
    found: list[str]


def endure(folder: Path, fault: Fault, *, kind: str = "bubblewrap") -> Outcome:
    """Run, mend if it stopped, resume, and hold all of it against the invariants."""
    began = time.monotonic()
    stages: list[Stage] = []
    settings = three_tasks.SETTINGS.format(kind=kind)
    with machine(folder, lambda call: _played(stages[0], fault, call), settings=settings) as (world, api):
        stage = Stage(world, api)
        stages.append(stage)
        before = fingerprint(world)
        tree = tree_of(world, three_tasks.EXPECTED)
        found: list[str] = []
        with fault.around(stage):
            first = stage.run(*fault.always, *fault.options, "run", three_tasks.GOAL)
            found += _stopped(stage, fault, first, before)
            seen = (len(api.requests), answered(world)) if fault.begun and _state_of(world) else None
            last = first
            stage.mended.set()
            if fault.mend is not None:
                fault.mend(stage)
            if first.code != 0:
                words = ("resume",) if fault.begun else ("run", three_tasks.GOAL)
                last = stage.run(*fault.always, *fault.later, *words)
            if last.code != 0:
                found.append(f"it ended with {last.code}: {last.out[-800:]}{last.err[-800:]}")
            if not found:
                evidence = Evidence(
                    world,
                    before,
                    api.requests,
                    kills=len(stage.struck) + (first.code != 0),
                    answered_at_kill=[seen] if seen else [],
                    canaries=(KEY, twelve_tasks.CANARY),
                    expected_tree=tree,
                    usage_known=fault.usage_known,
                    faulted=frozenset(map(name_of, stage.struck)) if fault.answer is not None else frozenset(),
                )
                found += violations(evidence)
        if fault.strike is not None or fault.answer is not None:
            found += [] if stage.struck else ["the fault was never met"]
        happened = _in_words(stage, first, last, round(time.monotonic() - began))
        outcome = Outcome(fault.name, happened, [*found, *stage.told])
    _write_outcome(outcome)
    return outcome


def _state_of(world: World) -> bool:
    return (world.state / "state.sqlite").exists()


def _played(stage: Stage, fault: Fault, call: Call) -> Played:
    usual = three_tasks.play(call)
    meant = fault.call is None or fault.call == (call.task_id, call.turn)
    if not meant or stage.mended.is_set() or len(stage.struck) >= fault.times:
        return usual
    if fault.strike is None and fault.answer is None:
        return usual
    stage.struck.append(call)
    if fault.strike is not None:
        try:
            fault.strike(stage)
        except Exception as error:  # noqa: BLE001 - in the server's thread nobody would hear of it
            stage.told.append(f"the fault could not be made: {error!r}")
    if fault.answer is None:
        return usual
    return fault.answer(call, cast("Sequence[JSONObject]", usual)) if callable(fault.answer) else fault.answer


def _stopped(stage: Stage, fault: Fault, ended: Ended, before: Mapping[str, str]) -> list[str]:
    """Check the end of the first command: its code, its one clear error, and what it left behind."""
    found = []
    if ended.code not in (fault.code, fault.or_code):
        found.append(f"exit code {ended.code} instead of {fault.code}: {ended.out[-600:]}{ended.err[-1200:]}")
    if "Traceback" in ended.err or "unexpected " in ended.err:
        found.append(f"not a clear error: {ended.err[-800:]}")
    said = ended.err + ended.out
    if fault.says not in said.lower():
        found.append(f"it does not say {fault.says!r}: {said[-800:]}")
    if ended.code == 6 and "error: " not in ended.err:
        found.append(f"no error is said: {ended.err[-800:]}")
    if (fault.free or not fault.begun) and stage.api.requests:
        found.append(f"{len(stage.api.requests)} calls were made")
    evidence = Evidence(stage.world, before, stage.api.requests, canaries=(KEY, twelve_tasks.CANARY))
    found += during(evidence) if fault.begun or not _state_of(stage.world) else []
    found += [f"a process is left: {line[:200]}" for line in processes_of(stage.world)]
    found += fault.also(stage, ended) if fault.also is not None else []
    return found


def _in_words(stage: Stage, first: Ended, last: Ended, seconds: int) -> str:
    words = [f"exit {first.code}"]
    said = [line.removeprefix("error: ") for line in first.err.splitlines() if line.startswith("error: ")]
    words += [f"“{_clipped(line, stage)}”" for line in said[-1:]]
    if last is not first:
        words.append(f"mended, then exit {last.code}")
    repeated = len(stage.api.requests) - len({item.call.headers["idempotency-key"] for item in stage.api.requests})
    words.append(f"{len(stage.api.requests)} requests, {repeated} of them again")
    return ", ".join(words) + f" ({seconds} s)"


def _clipped(line: str, stage: Stage) -> str:
    line = line.replace(str(stage.world.folder), "…")
    return line if len(line) <= 200 else line[:199] + "…"


def _write_outcome(outcome: Outcome) -> None:
    """Print the row, and keep it where it is wanted."""
    end = "as it must be" if not outcome.found else f"WRONG: {outcome.found}"
    print(f"| {outcome.fault} | {outcome.happened} | {end} |")
    if _REPORT:
        with Path(_REPORT).open("a") as file:
            file.write(json.dumps({"fault": outcome.fault, "happened": outcome.happened, "found": outcome.found}))
            file.write("\n")
