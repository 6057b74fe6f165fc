"""Drives one run to its end through the real command, and kills it on the way as often as it is told to."""

import asyncio
import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.system.fault_points import POINT_VARIABLE, RECORD_VARIABLE
from tests.e2e.conftest import with_key
from tests.e2e.world import KEY, World, fingerprint, make_world, tree_of
from tests.faults import twelve_tasks
from tests.faults.invariants import CallName, Evidence, answered, during, name_of, rows, violations
from tests.scripted_api import HttpError, Script, ScriptedApi, serve_in_thread
from tests.scripted_api.script import Call, Played

#: More sessions than this for one run means that it does not get on.
_MAX_SESSIONS = 200
_SESSION_SECONDS = 300.0
#: Exit code of a session that ends because a person has to answer.
_WAITS = 5


@dataclass(frozen=True, slots=True)
class AtPlace:
    """Kill at a named place, the n-th time it is reached in one session."""

    name: str
    time: int = 1
    latest: int | None = None
    """The number of the place at which to kill when the named one was not reached before; None waits for it."""

    def __str__(self) -> str:
        return f"{self.name}#{self.time}" + (f",{self.latest}" if self.latest else "")


@dataclass(frozen=True, slots=True)
class AfterSeconds:
    """Kill after so many seconds, wherever that is."""

    seconds: float

    def __str__(self) -> str:
        return f"random, {self.seconds:.2f} s"


Kill = AtPlace | AfterSeconds


@dataclass(slots=True)
class Killed:
    """What became of a run that was killed again and again."""

    struck: list[str] = field(default_factory=list)
    """The kills that hit, in order: the place, or the random moment."""
    missed: list[Kill] = field(default_factory=list)
    """Kills whose place was not reached before the run ended."""
    found: list[str] = field(default_factory=list)
    """What does not hold, with the kill after which it was seen."""
    requests: int = 0
    seconds: float = 0.0


class CountingScript:
    """A script that also counts what it said, as the service bills it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.output_tokens: dict[CallName, list[int]] = {}
        """Of each call that was answered, by tries."""
        self.refused: set[CallName] = set()

    def __call__(self, call: Call) -> Played:
        """Answer, and count the answer."""
        played = self._script(call)
        assert isinstance(played, Sequence | HttpError)
        if isinstance(played, Sequence):
            self.output_tokens.setdefault(name_of(call), []).append(-(-len(json.dumps(list(played))) // 4))
        else:
            self.refused.add(name_of(call))
        return played


class HeldBack:
    """A script that keeps a run from its end until it may: the answers to one task wait."""

    def __init__(self, script: Callable[[Call], Played] = twelve_tasks.play, task: str = "T9") -> None:
        self._script = script
        self._task = task
        self.may_end = threading.Event()
        """Set by the test, in a thread of its own."""

    async def __call__(self, call: Call) -> Played:
        """Answer, the task's calls once they may be."""
        while call.task_id == self._task and not self.may_end.is_set():
            await asyncio.sleep(0.02)
        return self._script(call)


@contextmanager
def machine(
    folder: Path, script: Script = twelve_tasks.play, *, settings: str = twelve_tasks.SETTINGS
) -> Iterator[tuple[World, ScriptedApi]]:
    """Make a user's machine whose repository is that of the twelve tasks, and its model."""
    sample = folder / "sample"
    (sample / "tally").mkdir(parents=True)
    for name, text in twelve_tasks.BASE.items():
        (sample / name).write_text(text)
    (sample / "tally" / "money.py").write_text("cents = 1\n")
    with serve_in_thread(with_key(script)) as api:
        yield make_world(folder / "machine", sample, api.base_url, settings), api


def expected_tree(world: World, files: Mapping[str, str] = twelve_tasks.EXPECTED) -> str:
    """Give the tree that every run of the twelve tasks ends with."""
    return tree_of(world, {**files, "tally/money.py": "cents = 1\n"})


def recorded_places(world: World, record: Path, *, path: str | None = None) -> Counter[str]:
    """Run to the end without a fault, and give how often each place was reached; `path` as for `drive`."""
    environment = _environment(world, record, path)
    words: tuple[str, ...] = ("run", twelve_tasks.GOAL)
    for _ in range(_MAX_SESSIONS):
        ended = world.run(*words, **environment)
        if ended.code == _WAITS:
            assert world.run("approve", "plan", **environment).code == 0
            words = ("resume",)
            continue
        assert ended.code == 0, ended.out + ended.err
        break
    return Counter(line.split(" ")[1] for line in record.read_text().splitlines())


def _environment(world: World, record: Path, path: str | None) -> dict[str, str]:
    temporary = temporary_folder(world)
    temporary.mkdir(exist_ok=True)
    return {
        **({} if path is None else {"PATH": path}),
        twelve_tasks.CANARY_NAME: twelve_tasks.CANARY,
        "TMPDIR": str(temporary),
        RECORD_VARIABLE: str(record),
    }


def temporary_folder(world: World) -> Path:
    """Give what the run has for temporary files."""
    return world.folder / "tmp"


@dataclass(slots=True)
class _Armed:
    """The kills of one run that have not hit yet."""

    rare: list[AtPlace]
    """All at once: each when its place is reached."""
    others: list[Kill]
    """One after the other."""

    @property
    def left(self) -> list[Kill]:
        return [*self.rare, *self.others]

    @property
    def points(self) -> str:
        """What goes into the environment."""
        first = self.others[:1]
        return ",".join(str(kill) for kill in [*self.rare, *first] if isinstance(kill, AtPlace))

    @property
    def seconds(self) -> float | None:
        """When to kill, if one is for a moment."""
        first = self.others[0] if self.others else None
        return first.seconds if isinstance(first, AfterSeconds) else None

    def struck(self, record: Path) -> str:
        """Say which one it was, and take it out."""
        lines = record.read_text().splitlines() if record.exists() else []
        # other threads may have got somewhere before the end
        at = next((number for number, line in enumerate(lines) if line.endswith(" *")), None)
        if at is not None:
            name = lines[at].split(" ")[1]
            time = sum(line.split(" ")[1] == name for line in lines[: at + 1])
            hit = next((kill for kill in self.rare if (kill.name, kill.time) == (name, time)), None)
            if hit is not None:
                self.rare.remove(hit)
            else:
                self.others.pop(0)
            return name
        return str(self.others.pop(0))


def drive(
    world: World,
    api: ScriptedApi,
    kills: Sequence[Kill],
    record: Path,
    *,
    expected: Mapping[str, str] = twelve_tasks.EXPECTED,
    script: CountingScript | None = None,
    docker: bool = False,
    path: str | None = None,
) -> Killed:
    """Run, kill, resume, kill ... until the run is over, and hold it against the invariants after each kill and at the end.

    `path` is the user's PATH, where agents are on a Codex that is there.
    """
    began = time.monotonic()
    result = Killed()
    before = fingerprint(world)
    seen: list[tuple[int, frozenset[CallName]]] = []
    tree = expected_tree(world, expected)
    armed = _Armed(
        [kill for kill in kills if isinstance(kill, AtPlace) and kill.latest is None],
        [kill for kill in kills if isinstance(kill, AfterSeconds) or kill.latest is not None],
    )
    outputs = ""
    canaries = (KEY, twelve_tasks.CANARY)
    waits = False
    for _ in range(_MAX_SESSIONS):
        words: tuple[str, ...] = ("resume",) if _has_run(world) else ("run", twelve_tasks.GOAL)
        code, output = _session(world, ("approve", "plan") if waits else words, armed, record, path)
        outputs += output
        if code == -signal.SIGKILL:
            waits = False  # whether the answer was stored, the next session says
            struck = armed.struck(record)
            result.struck.append(struck)
            evidence = Evidence(world, before, api.requests, canaries=canaries)
            result.found += [f"after {struck}: {line}" for line in during(evidence)]
            if _has_run(world):
                seen.append((len(api.requests), answered(world)))
        elif code == _WAITS or (waits and code == 0):
            waits = not waits
        else:
            break
    else:
        code, output = 1, "it never ended"
    result.missed = armed.left
    result.requests = len(api.requests)
    result.seconds = time.monotonic() - began
    if code != 0:
        result.found.append(f"after {result.struck[-1:]}: exit code {code}: {output[-1500:]}")
        return result
    evidence = Evidence(
        world,
        before,
        api.requests,
        kills=len(result.struck),
        answered_at_kill=seen,
        canaries=canaries,
        expected_tree=tree,
        outputs=outputs,
        temporary=temporary_folder(world),
        output_tokens=None if script is None else script.output_tokens,
        faulted=frozenset() if script is None else frozenset(script.refused),
        docker=docker,
        on_codex=path is not None,
    )
    result.found += [f"at the end: {line}" for line in violations(evidence)]
    return result


def _has_run(world: World) -> bool:
    if not (world.state / "state.sqlite").exists():
        return False
    try:
        return bool(rows(world, "SELECT run_id FROM run"))
    except Exception:  # noqa: BLE001 - a file without tables, or none: nothing was begun
        return False


def _session(world: World, words: Sequence[str], armed: _Armed, record: Path, path: str | None) -> tuple[int, str]:
    environment = _environment(world, record, path)
    if armed.points:
        environment[POINT_VARIABLE] = armed.points
    record.unlink(missing_ok=True)
    process = world.start(*words, **environment)
    seconds = armed.seconds
    try:
        out, err = process.communicate(timeout=_SESSION_SECONDS if seconds is None else seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        if seconds is None:
            return 1, f"it hung: {out}{err}"
    return process.returncode, out + err


def plan_of_kills(places: Counter[str], count: int, seed: int) -> list[Kill]:
    """Give so many kills: every place once, the rest at random places, times and moments; in no order."""
    rng = random.Random(seed)
    # each session counts anew: what a run reaches often is hit somewhere in its first third
    kills: list[Kill] = [AtPlace(name, 1 + rng.randrange(max(1, times // 3))) for name, times in places.items()]
    while len(kills) < count:
        if rng.random() < 0.5:
            kills.append(AfterSeconds(rng.uniform(0.3, 6.0)))
        else:
            name = rng.choice(sorted(places))
            kills.append(AtPlace(name, 1 + rng.randrange(max(1, places[name] // 3)), latest=rng.randint(60, 400)))
    rng.shuffle(kills)
    return kills
