"""How quickly a bubblewrap sandbox is ready with a repository inside, and what a command costs in it.

    python -m benchmarks.bubblewrap [FILES ...]

Prints one line per number of files (1,000 and 20,000 by default) and number of sandboxes at once. Everything is made
below a temporary folder and removed.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from codexteam.adapters.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.support_base_source import base_source, make_repository

_AT_ONCE = (1, 8, 32)
_COMMANDS = 100


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


def main() -> None:
    """Measure."""
    for files in [int(word) for word in sys.argv[1:]] or [1_000, 20_000]:
        with tempfile.TemporaryDirectory(prefix="codexteam-benchmark-") as name:
            asyncio.run(_measure(Path(name), files))


if __name__ == "__main__":
    main()
