"""Measures sandboxes: how soon one is ready with the repository inside, and what one command costs.

    python benchmarks/sandboxes.py [--short] [--engines docker,bubblewrap] [--image NAME] [--json FILE]

Ready: from `start` until the first command has answered, at 1, 8 and 32 at once, next to a plain `docker run` of the
same image that has no repository in it. Round trip: `true` in a sandbox, next to `true` as a bare process of this
one and to `docker exec`. Everything in one run on one machine: compare the rows with each other. Round trips are
interleaved, so that a busy machine hits all of them alike.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.sandbox import BaseSource, Command, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import SandboxEngine
from tests.support_base_source import base_source, make_repository

RUN = RunId(f"benchmark-{os.getpid()}")
LIMITS = SandboxLimits(memory_bytes=512 << 20, workspace_bytes=128 << 20, tmp_bytes=32 << 20)

_EXEC = "docker exec"


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    engine: str
    files: int
    at_once: int
    median_ms: float
    worst_ms: float
    count: int
    note: str = ""


def row(what: str, engine: str, files: int, at_once: int, times: list[float], *, note: str = "") -> Row:
    """Sum up some times in seconds, and say so on standard error."""
    median, worst = statistics.median(times) * 1000, max(times) * 1000
    found = Row(what, engine, files, at_once, round(median, 2), round(worst, 2), len(times), note)
    print(f"{what:<22}{engine:<12}{files or '':>7}{at_once:>5}{median:>12.2f}{worst:>12.2f}  {note}", file=sys.stderr)
    return found


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Give how long it took, in seconds."""
    before = time.perf_counter()
    await work()
    return time.perf_counter() - before


async def run_process(*argv: str) -> None:
    """Run a bare process to its end, with its output read."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)}: {said.decode(errors='replace')}")


def make_base(folder: Path, files: int) -> BaseSource:
    """Make a repository with so many files of about 4 KB."""
    body = b"x = 1  # a line of a file in a repository\n" * 100
    names: dict[str | bytes, bytes | str] = {
        f"package_{number // 100}/module_{number}.py": body + str(number).encode() for number in range(files)
    }
    make_repository(folder / f"repository-{files}", names)
    return base_source(folder / f"repository-{files}", folder / f"base-{files}")


def make_engine(name: str, image: str, folder: Path) -> SandboxEngine:
    """Give the real engine of that name."""
    if name == "docker":
        from codexteam.adapters.sandbox.docker.engine import DockerEngine

        return DockerEngine(SandboxSettings(image=image), environment=os.environ, owner=str(folder), state_dir=folder)
    from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine(folder / "bubblewrap")


@dataclass
class Bench:
    """One engine, and how many sandboxes it has started."""

    engine: SandboxEngine
    started: int = 0

    async def ready(self, base: BaseSource) -> Sandbox:
        """Start a sandbox and have it answer."""
        self.started += 1
        agent = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", self.started)
        sandbox = await self.engine.start(
            SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), LIMITS)
        )
        result = await sandbox.run(Command(("git", "status", "--porcelain")))
        if not result.ok or result.output:
            raise SystemExit(f"the workspace is not as it should be: {result}")
        return sandbox


async def measure_ready(bench: Bench, base: BaseSource, files: int, widths: list[int], repeats: int) -> list[Row]:
    """Start sandboxes, so many at once; each time is until all are ready, shared by them."""
    name = bench.engine.name
    rows = [row("prepare", name, files, 1, [await timed(lambda: bench.engine.prepare(base))], note="once per commit")]
    for warm in await asyncio.gather(bench.ready(base)):
        await warm.close()
    for width in widths:
        singles, closes, walls = [], [], []
        for _ in range(repeats if width == 1 else 1):
            before = time.perf_counter()

            async def one(before: float = before) -> tuple[Sandbox, float]:
                sandbox = await bench.ready(base)
                return sandbox, time.perf_counter() - before

            found = await asyncio.gather(*(one() for _ in range(width)))
            walls.append(time.perf_counter() - before)
            singles += [seconds for _, seconds in found]
            closes.append(await timed(lambda found=found: asyncio.gather(*(sandbox.close() for sandbox, _ in found))))  # type: ignore[misc]  # bound at once
        note = f"all in {max(walls) * 1000:.0f} ms; removed in {statistics.median(closes) * 1000:.0f} ms"
        rows.append(row("ready", name, files, width, singles, note=note))
    return rows


async def measure_plain(image: str, widths: list[int], repeats: int) -> list[Row]:
    """The plain command: no repository, nothing confined but the network."""
    argv = ("docker", "run", "--rm", "--network", "none", image, "true")
    rows = []
    for width in widths:
        times: list[float] = []
        for _ in range(repeats if width == 1 else 1):
            times += await asyncio.gather(*(timed(lambda: run_process(*argv)) for _ in range(width)))
        rows.append(row("docker run true", "plain", 0, width, times))
    return rows


async def measure_round_trips(benches: list[Bench], base: BaseSource, image: str, count: int) -> list[Row]:
    """One command, in turns: bare, in each sandbox, by `docker exec`."""
    sandboxes = {bench.engine.name: await bench.ready(base) for bench in benches}
    command = Command(("true",))
    ways: dict[str, Callable[[], Awaitable[object]]] = {"bare process": lambda: run_process("true")}
    for name, sandbox in sandboxes.items():
        ways[name] = lambda sandbox=sandbox: sandbox.run(command)  # type: ignore[misc]  # bound at once
    container = ""
    if "docker" in sandboxes:
        container = f"codexteam-benchmark-{os.getpid()}"
        argv = ("docker", "run", "-d", "--rm", "--name", container, "--network", "none", image, "sleep", "3600")
        await run_process(*argv)
        ways[_EXEC] = lambda: run_process("docker", "exec", container, "true")
    times: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(count):
            for name, way in ways.items():
                if name != _EXEC:
                    times[name].append(await timed(way))
        # by itself: the engine is still at work for a while after each, beside whatever comes next
        for _ in range(count // 10 if _EXEC in ways else 0):
            times[_EXEC].append(await timed(ways[_EXEC]))
        rows = []
        bare = statistics.median(times["bare process"]) * 1000
        for name, found in times.items():
            over = statistics.median(found) * 1000 - bare
            note = "" if name == "bare process" else f"{over:+.2f} ms over the bare process (bar: +2 ms)"
            rows.append(row("round trip of true", name, 0, 1, found, note=note))
    finally:
        for sandbox in sandboxes.values():
            await sandbox.close()
        if container:
            await run_process("docker", "rm", "-f", container)
    return rows


async def measure(options: argparse.Namespace) -> list[Row]:
    """Measure everything that was asked for."""
    sizes, widths = ([1_000], [1, 8]) if options.short else ([1_000, 20_000], [1, 8, 32])
    repeats, trips = (3, 100) if options.short else (7, 300)
    names = [name for name in options.engines.split(",") if name]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="codexteam-benchmark-") as folder:
        bases = {files: make_base(Path(folder), files) for files in sizes}
        benches = [Bench(make_engine(name, options.image, Path(folder))) for name in names]
        try:
            if "docker" in names:
                rows += await measure_plain(options.image, widths, repeats)
            for bench in benches:
                for files, base in bases.items():
                    rows += await measure_ready(bench, base, files, widths, repeats)
            rows += await measure_round_trips(benches, bases[sizes[0]], options.image, trips)
        finally:
            for bench in benches:
                await bench.engine.sweep(None)
                await bench.engine.close()
    return rows


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description="Measure sandboxes.")
    parser.add_argument("--short", action="store_true", help="1,000 files, up to 8 at once: for CI")
    parser.add_argument("--engines", default="docker,bubblewrap")
    parser.add_argument("--image", default="codexteam-sandbox:test", help="as .ci/sandbox_image.py makes it")
    parser.add_argument("--json", type=Path, help="write here instead of to standard output")
    options = parser.parse_args()
    for name, value in (("AUTHOR", "Benchmark"), ("COMMITTER", "Benchmark")):
        os.environ[f"GIT_{name}_NAME"] = value
        os.environ[f"GIT_{name}_EMAIL"] = "benchmark@example.org"
    print(f"{'what':<22}{'engine':<12}{'files':>7}{'once':>5}{'median ms':>12}{'worst ms':>12}", file=sys.stderr)
    load_before = os.getloadavg()[0]
    rows = asyncio.run(measure(options))
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    report = {"machine": machine, "load_before": load_before, "load_after": os.getloadavg()[0]}
    text = json.dumps({**report, "rows": [asdict(each) for each in rows]}, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
