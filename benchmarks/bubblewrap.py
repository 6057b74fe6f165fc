"""How quickly a bubblewrap sandbox is ready with a repository inside, and what a command costs in it.

    python -m benchmarks.bubblewrap [FILES ...]

Prints one line per number of files (1,000 and 20,000 by default) and number of sandboxes at once, then what an
environment with a layer of 30,000 files adds. Everything is made below a temporary folder and removed.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.environments import Environment, SetupOrder
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.support_base_source import base_source, make_repository

_AT_ONCE = (1, 8, 32)
_COMMANDS = 100
_LAYER_FILES = 30_000
_STARTS = 20
_KEYS = ("", "key")
_T = TypeVar("_T")


def _bare_seconds() -> float:
    """Give the median of a bare process, started and waited for."""
    taken = []
    for _ in range(_COMMANDS):
        start = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def _measure(folder: Path, files: int) -> None:
    content: dict[str | bytes, bytes | str] = {
        f"d{number // 200}/f{number}.txt": (f"file {number}\n" * 100).encode() for number in range(files)
    }
    make_repository(folder / "repository", content)
    base = base_source(folder / "repository", folder / "base")
    engine = BubblewrapEngine(folder / "state")
    await engine.check()
    start = time.perf_counter()
    await engine.prepare(base)
    print(f"{files} files: base checked out in {time.perf_counter() - start:.2f} s, once")

    def spec(number: int) -> SandboxSpec:
        agent = AgentKey(RunId("benchmark"), "implementer", Purpose.IMPLEMENT, "T1", number)
        return SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())

    for at_once in _AT_ONCE:
        start = time.perf_counter()
        sandboxes = await asyncio.gather(*(engine.start(spec(number)) for number in range(at_once)))
        await asyncio.gather(*(sandbox.run(Command(("true",))) for sandbox in sandboxes))
        ready = time.perf_counter() - start
        one = sandboxes[0]
        taken = []
        for _ in range(_COMMANDS):
            start = time.perf_counter()
            await one.run(Command(("/bin/true",)))
            taken.append(time.perf_counter() - start)
        bare = _bare_seconds()
        await one.run(Command(("bash", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do echo x >>d1/f20$i.txt; done")))
        start = time.perf_counter()
        await one.snapshot(folder / "work.pack")
        snapshot = time.perf_counter() - start
        await asyncio.gather(*(sandbox.close() for sandbox in sandboxes))
        print(
            f"{files} files, {at_once} at once: all ready and answering after {ready:.3f} s; "
            f"command {statistics.median(taken) * 1000:.2f} ms (bare process {bare * 1000:.2f} ms); "
            f"snapshot of 10 changed files {snapshot * 1000:.0f} ms"
        )
    await engine.close()


async def _measure_environment(folder: Path) -> None:
    """Compare sandboxes with and without an environment whose layer has as many files as a large `node_modules`."""
    content: dict[str | bytes, bytes | str] = {f"d{n // 200}/f{n}.txt": b"x = 1\n" * 100 for n in range(1_000)}
    make_repository(folder / "repository", {**content, ".gitignore": b"node_modules/\n"})
    base = base_source(folder / "repository", folder / "base")
    engine = BubblewrapEngine(folder / "state", environments=folder / "environments")
    agent = AgentKey(RunId("benchmark"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    spec = SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())
    setup = await engine.environments.set_up(SetupOrder("key", agent, base, NetworkPolicy(), spec.limits))
    line = f"for d in $(seq {_LAYER_FILES // 100}); do mkdir -p node_modules/$d && cd node_modules/$d && "
    line += "for f in $(seq 100); do echo $d $f >$f.js; done; cd ../..; done"
    filled = await setup.run(Command(("bash", "-c", line)))
    assert filled.ok, filled
    start = time.perf_counter()
    kept = await setup.keep(Environment("key", "the benchmark", 0, 0.0))
    print(f"{_LAYER_FILES} files in the layer, {kept.size_bytes >> 20} MB: kept in {time.perf_counter() - start:.2f} s")
    await setup.close()
    prepared: dict[str, float] = {}
    taken: dict[tuple[str, str], list[float]] = {}
    for key in _KEYS:
        start = time.perf_counter()
        if key:
            await engine.environments.find(key)
        await engine.prepare(base, environment_key=key)
        prepared[key] = time.perf_counter() - start

    async def timed(key: str, what: str, work: Awaitable[_T]) -> _T:
        start = time.perf_counter()
        result = await work
        taken.setdefault((key, what), []).append(time.perf_counter() - start)
        return result

    for number in range(2 * _STARTS):  # in turns: a busy machine hits both alike
        key = _KEYS[number % 2]
        one = replace(spec, agent=replace(agent, attempt=number), environment_key=key)
        sandbox = await timed(key, "ready", engine.start(one))
        status = await timed(key, "git status", sandbox.run(Command(("git", "status", "--porcelain"))))
        assert status.ok, status
        assert not status.output, status
        await sandbox.write_file("d1/f201.txt", b"changed")
        assert await timed(key, "snapshot", sandbox.snapshot(folder / "work.pack")) is not None
        await sandbox.close()
    for key in _KEYS:
        medians = ", ".join(
            f"{what} {statistics.median(times) * 1000:.0f} ms" for (of, what), times in taken.items() if of == key
        )
        how = "with" if key else "without"
        print(f"{how} the environment: a commit is ready after {prepared[key]:.2f} s, once; then {medians}")
    await engine.close()


def main() -> None:
    """Measure."""
    for files in [int(word) for word in sys.argv[1:]] or [1_000, 20_000]:
        with tempfile.TemporaryDirectory(prefix="codexteam-benchmark-") as name:
            asyncio.run(_measure(Path(name), files))
    with tempfile.TemporaryDirectory(prefix="codexteam-benchmark-") as name:
        asyncio.run(_measure_environment(Path(name)))


if __name__ == "__main__":
    main()
