"""Drives one run to its end through the real command, and kills it on the way as often as it is told to."""

import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.ports.fault_points import POINT_VARIABLE, RECORD_VARIABLE
from tests.e2e.conftest import with_key
from tests.e2e.world import KEY, World, fingerprint, make_world, tree_of
from tests.faults import twelve_tasks
from tests.faults.invariants import CallName, Evidence, answered, during, violations
from tests.scripted_api import Script, ScriptedApi, serve_in_thread

#: More sittings than this for one run means that it does not get on.
_MAX_SITTINGS = 200
_SITTING_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class AtPlace:
    """Kill at a named place, the n-th time it is reached in this sitting."""

    name: str
    time: int = 1
    latest: int | None = None
    """The number of the place at which to kill when the named one was not reached."""

    def __str__(self) -> str:
        return f"{self.name}#{self.time}" + (f",{self.latest}" if self.latest else "")


@dataclass(frozen=True, slots=True)
class AfterSeconds:
    """Kill after so many seconds, wherever that is."""

    seconds: float

    def __str__(self) -> str:
        return f"after {self.seconds:.2f} s"


Kill = AtPlace | AfterSeconds


@dataclass(slots=True)
class Killed:
    """What became of a run that was killed again and again."""

    struck: list[str] = field(default_factory=list)
    """The kills that hit, in order; at a place, or `random`."""
    missed: list[Kill] = field(default_factory=list)
    """Kills whose place was not reached before the run ended."""
    found: list[str] = field(default_factory=list)
    """What does not hold, with the kill after which it was seen."""
    requests: int = 0
    seconds: float = 0.0


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


def expected_tree(world: World) -> str:
    """Give the tree that every run of the twelve tasks ends with."""
    return tree_of(world, {**twelve_tasks.EXPECTED, "tally/money.py": "cents = 1\n"})


def recorded_places(world: World, record: Path) -> Counter[str]:
    """Run to the end without a fault, and give how often each place was reached."""
    ended = world.run("run", twelve_tasks.GOAL, **{RECORD_VARIABLE: str(record), **_environment()})
    assert ended.code == 0, ended.out + ended.err
    return Counter(line.split(" ")[1] for line in record.read_text().splitlines())


def _environment() -> dict[str, str]:
    return {twelve_tasks.CANARY_NAME: twelve_tasks.CANARY}


def drive(world: World, api: ScriptedApi, kills: Sequence[Kill], record: Path) -> Killed:
    """Run, kill, resume, kill ... until the run is over, and hold it against the invariants after each kill and at the end."""
    began = time.monotonic()
    result = Killed()
    before = fingerprint(world)
    seen: list[tuple[int, frozenset[CallName]]] = []
    tree = expected_tree(world)
    waiting = list(kills)
    kill: Kill | None = None
    for _ in range(_MAX_SITTINGS):
        kill = waiting.pop(0) if waiting else None
        begun = (world.state / "state.sqlite").exists() and _has_run(world)
        words = ("resume",) if begun else ("run", twelve_tasks.GOAL)
        code, output = _sitting(world, words, kill, record)
        if code != -signal.SIGKILL:
            break
        struck = _struck(record, kill)
        result.struck.append(struck)
        evidence = Evidence(world, before, api.requests, canaries=(KEY, twelve_tasks.CANARY))
        result.found += [f"after {struck}: {line}" for line in during(evidence)]
        if _has_run(world):
            seen.append((len(api.requests), answered(world)))
    else:
        code, output = 1, "it never ended"
    result.missed = [kill, *waiting] if kill is not None else waiting
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
        canaries=(KEY, twelve_tasks.CANARY),
        expected_tree=tree,
    )
    result.found += [f"at the end: {line}" for line in violations(evidence)]
    return result


def _has_run(world: World) -> bool:
    from tests.faults.invariants import rows

    try:
        return bool(rows(world, "SELECT run_id FROM run"))
    except Exception:  # noqa: BLE001 - a file without tables, or none: nothing was begun
        return False


def _sitting(world: World, words: Sequence[str], kill: Kill | None, record: Path) -> tuple[int, str]:
    environment = {RECORD_VARIABLE: str(record), **_environment()}
    if isinstance(kill, AtPlace):
        environment[POINT_VARIABLE] = str(kill)
    record.unlink(missing_ok=True)
    process = world.start(*words, **environment)
    try:
        out, err = process.communicate(timeout=kill.seconds if isinstance(kill, AfterSeconds) else _SITTING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        if not isinstance(kill, AfterSeconds):
            return 1, f"it hung: {out}{err}"
    return process.returncode, out + err


def _struck(record: Path, kill: Kill | None) -> str:
    lines = record.read_text().splitlines() if record.exists() else []
    if isinstance(kill, AtPlace):
        return next((line.split(" ")[1] for line in lines if line.endswith(" *")), str(kill))
    return "random, at the start" if not lines else "random"


def plan_of_kills(places: Counter[str], count: int, seed: int) -> list[Kill]:
    """Give so many kills: every place once, the rest at random places, times and moments; in no order."""
    rng = random.Random(seed)
    kills: list[Kill] = [
        # what is rare is waited for
        AtPlace(name, 1 + rng.randrange(max(1, times // 8)), latest=rng.randint(60, 200) if times > 4 else None)
        for name, times in places.items()
    ]
    while len(kills) < count:
        if rng.random() < 0.4:
            kills.append(AfterSeconds(rng.uniform(1.0, 8.0)))
        else:
            name = rng.choice(sorted(places))
            kills.append(AtPlace(name, 1 + rng.randrange(max(1, places[name] // 8)), latest=rng.randint(60, 200)))
    rng.shuffle(kills)
    return kills


#: Effects of which a run has one or a few, in their order, with the busy middle of a run as "".
_ORDER = ("Prepare", "Scout", "MakePlan", "", "RunGate", "Replan", "Document", "Release", "Land")


def in_order(kills: Sequence[Kill]) -> list[Kill]:
    """Put those of rare effects where their turn comes, so that a run reaches them all."""

    def rank(kill: Kill) -> int:
        found = re.match(r"effect\.(\w+)\.", kill.name) if isinstance(kill, AtPlace) else None
        return _ORDER.index(found[1] if found and found[1] in _ORDER else "")

    return sorted(kills, key=rank)
