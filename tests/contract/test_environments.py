"""What every engine keeps of set-ups: the real ones and the fake."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.environment.plan import BIN, CACHE, HOME, SETUP_USER_HOME
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder, SetupSandbox, StepOutcome
from codexteam.ports.sandbox import BaseSource, Command, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import SandboxEngine
from tests.contract.test_sandbox import Make, _bubblewrap, _docker, _fake
from tests.support_base_source import base_source, make_repository, unpack_snapshot

FILES: dict[str | bytes, bytes | str] = {
    "a.txt": b"one\n",
    "folder/c.txt": b"three\n",
    ".gitignore": b"modules/\n*.log\n",
}
#: Engines that keep environments.
KEEPERS: dict[str, Make] = {"bubblewrap": _bubblewrap, "docker": _docker}
ENGINES = [pytest.param(_fake, id="fake")]
REAL = [pytest.param(make, id=name, marks=getattr(pytest.mark, name)) for name, make in KEEPERS.items()]
#: Makes a program.
TOOL = f"mkdir -p {BIN} && printf '#!/bin/sh\\necho works\\n' >{BIN}/tool && chmod +x {BIN}/tool"
LIMITS = SandboxLimits(memory_bytes=1 << 30)


def made(key: str, **more: object) -> Environment:
    """What whoever runs the steps knows when they are done."""
    step = StepOutcome("make", "Makefile", 0, 1.5, note="as the Makefile says")
    environment = Environment(key, "the test", 1_700_000_000, 1.5, sources=("manifests: Makefile",), steps=(step,))
    return replace(environment, **more)  # type: ignore[arg-type]  # as given


@dataclass
class Bench:
    """An engine with a repository, and what it started."""

    engine: SandboxEngine
    repository: Path
    base: BaseSource
    folder: Path
    started: list[Sandbox] = field(default_factory=list)

    def agent(self) -> AgentKey:
        number = len(self.started) + 1
        return AgentKey(RunId(f"contract-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", number)

    async def set_up(self, key: str, **more: object) -> SetupSandbox:
        order = SetupOrder(key, self.agent(), self.base, NetworkPolicy(), replace(LIMITS, workspace_bytes=1 << 30))
        sandbox = await self.engine.environments.set_up(replace(order, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox

    async def build(self, key: str, line: str, **more: object) -> Environment:
        """Run one step and keep what it left."""
        sandbox = await self.set_up(key)
        done = await sandbox.run(sh(line))
        assert done.ok, done.output
        kept = await sandbox.keep(made(key, **more))
        await sandbox.close()
        return kept

    async def start(self, key: str, mode: SandboxMode = SandboxMode.WORKSPACE_WRITE, **more: object) -> Sandbox:
        spec = SandboxSpec(self.agent(), self.base, mode, NetworkPolicy(), LIMITS, environment_key=key)
        sandbox = await self.engine.start(replace(spec, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox


async def _bench(make: Make, tmp_path: Path) -> AsyncIterator[Bench]:
    repository = tmp_path / "user" / "repository"
    make_repository(repository, FILES)
    base = base_source(repository, tmp_path / "state" / "base")
    engine = await make(tmp_path / "state" / "engine")
    if make is _fake:
        engine.files = {name: data for name, data in FILES.items() if isinstance(name, str)}  # type: ignore[attr-defined]
    bench = Bench(engine, repository, base, tmp_path)
    try:
        yield bench
    finally:
        for sandbox in bench.started:
            await sandbox.close()
        if make is not _fake:
            await engine.environments.remove([each.key for each, _ in await engine.environments.list()])
            await engine.sweep(None)
        await engine.close()


@pytest.fixture(params=[*ENGINES, *REAL])
async def any_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every engine: what the fake keeps to as well."""
    async for bench in _bench(request.param, tmp_path):
        yield bench


@pytest.fixture(params=REAL)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """The engines that really run commands."""
    async for bench in _bench(request.param, tmp_path):
        yield bench


def sh(line: str, **more: object) -> Command:
    return Command(("bash", "-c", line), **more)  # type: ignore[arg-type]  # as given


# Both the real ones and the fake


async def test_a_key_that_nobody_built_is_not_there(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    assert await environments.find("none") is None
    assert list(await environments.list()) == []
    assert list(await environments.remove(["none"])) == []
    with pytest.raises(SandboxUnavailable, match="none"):
        await any_bench.start("none")
    with pytest.raises(SandboxUnavailable, match="none"):
        await any_bench.engine.prepare(any_bench.base, environment_key="none")


async def test_what_a_set_up_left_is_in_every_workspace_and_no_snapshot(any_bench: Bench) -> None:
    sandbox = await any_bench.set_up("k1")
    await sandbox.write_file("modules/left-pad/index.js", b"pad\n")
    await sandbox.write_file("generated.txt", b"made\n")
    await sandbox.write_file("folder/also.txt", b"made too\n")
    await sandbox.keep(made("k1"))
    await sandbox.close()
    await any_bench.engine.prepare(any_bench.base, environment_key="k1")
    for mode in SandboxMode.WORKSPACE_WRITE, SandboxMode.READ_ONLY:
        agent = await any_bench.start("k1", mode)
        assert await agent.read_file("modules/left-pad/index.js", limit_bytes=100) == b"pad\n"
        assert await agent.read_file("generated.txt", limit_bytes=100) == b"made\n"
        assert await agent.read_file("folder/also.txt", limit_bytes=100) == b"made too\n"
        assert await agent.read_file("folder/c.txt", limit_bytes=100) == b"three\n"
        assert await agent.snapshot(any_bench.folder / "none.pack") is None
        assert agent.remarks == ()


async def test_what_an_agent_writes_over_it_stays_in_its_workspace(any_bench: Bench) -> None:
    sandbox = await any_bench.set_up("k1")
    await sandbox.write_file("modules/a.js", b"built\n")
    await sandbox.keep(made("k1"))
    await sandbox.close()
    one, other = await any_bench.start("k1"), await any_bench.start("k1")
    await one.write_file("modules/a.js", b"spoilt\n")
    await one.write_file("a.txt", b"work\n")
    assert await other.read_file("modules/a.js", limit_bytes=100) == b"built\n"
    shot = await one.snapshot(any_bench.folder / "work.pack")
    assert shot is not None
    third = await any_bench.start("k1", restore=shot)
    assert await third.read_file("a.txt", limit_bytes=100) == b"work\n"


async def test_tracked_files_are_kept_as_they_are_in_the_commit(any_bench: Bench) -> None:
    sandbox = await any_bench.set_up("k1")
    await sandbox.write_file("a.txt", b"changed\n")
    await sandbox.write_file("folder/c.txt", None)
    await sandbox.keep(made("k1"))
    await sandbox.close()
    agent = await any_bench.start("k1")
    assert await agent.read_file("a.txt", limit_bytes=100) == b"one\n"
    assert await agent.read_file("folder/c.txt", limit_bytes=100) == b"three\n"
    assert await agent.snapshot(any_bench.folder / "none.pack") is None


async def test_what_is_known_of_an_environment_comes_back(any_bench: Bench) -> None:
    sandbox = await any_bench.set_up("k1")
    await sandbox.write_file("modules/a.js", b"x" * 5000)
    more = {"variables": {"A": "1"}, "offline_variables": {"B": "2"}, "paths": ("/opt/codexteam/venv/bin",)}
    kept = await sandbox.keep(made("k1", notices=("mind the gap",), **more))
    await sandbox.close()
    assert kept == made("k1", notices=("mind the gap",), **more, size_bytes=kept.size_bytes)
    assert kept.size_bytes >= 5000
    assert await any_bench.engine.environments.find("k1") == kept
    assert [each for each, _ in await any_bench.engine.environments.list()] == [kept]


async def test_a_set_up_that_is_not_kept_leaves_nothing(any_bench: Bench) -> None:
    sandbox = await any_bench.set_up("k1")
    await sandbox.write_file("modules/a.js", b"half\n")
    await sandbox.close()
    assert await any_bench.engine.environments.find("k1") is None
    again = await any_bench.set_up("k1")
    assert await again.read_file("modules/a.js", limit_bytes=100) is None


async def test_a_later_set_up_of_the_same_key_replaces_it(any_bench: Bench) -> None:
    for text in b"first\n", b"second\n":
        sandbox = await any_bench.set_up("k1")
        await sandbox.write_file("modules/a.js", text)
        await sandbox.keep(made("k1"))
        await sandbox.close()
    agent = await any_bench.start("k1")
    assert await agent.read_file("modules/a.js", limit_bytes=100) == b"second\n"


async def test_claims_of_one_key_wait_for_each_other(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    order: list[str] = []

    async def build(name: str) -> None:
        async with environments.claim("k1"):
            order.append(f"{name} begins")
            await asyncio.sleep(0.05)
            order.append(f"{name} ends")

    async with environments.claim("k2"):
        await asyncio.gather(build("one"), build("one"))
    assert order == ["one begins", "one ends"] * 2


async def test_a_claim_ends_with_an_error_or_a_cancelled_wait(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    with pytest.raises(ZeroDivisionError):
        async with environments.claim("k1"):
            raise ZeroDivisionError
    async with environments.claim("k1"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), environments.claim("k1"):
                pass
    async with asyncio.timeout(20), environments.claim("k1"):
        pass


async def test_what_is_used_or_claimed_is_not_removed(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    for key in "k1", "k2", "k3":
        sandbox = await any_bench.set_up(key)
        await sandbox.keep(made(key))
        await sandbox.close()
    user = await any_bench.start("k1")
    async with environments.claim("k2"):
        assert list(await environments.remove(["k1", "k2", "k3"])) == ["k3"]
    assert {each.key for each, _ in await environments.list()} == {"k1", "k2"}
    await user.close()
    assert sorted(await environments.remove(["k1", "k2"])) == ["k1", "k2"]
    assert list(await environments.list()) == []


async def test_a_copy_of_an_environment_is_as_good_as_it(any_bench: Bench) -> None:
    keeper = any_bench.engine.environments
    sandbox = await any_bench.set_up("copied")
    await sandbox.write_file("modules/it.js", b"it\n")
    built = await sandbox.keep(made("copied"))
    await sandbox.close()
    copy = any_bench.folder / "copy"
    await keeper.pack("copied", copy)
    assert await keeper.remove(["copied"]) == ["copied"]
    async with keeper.claim("copied"):
        assert await keeper.unpack("copied", copy) == built
        assert await keeper.unpack("copied", copy) == built, "one that is there stays"
    assert await keeper.find("copied") == built
    started = await any_bench.start("copied")
    assert await started.read_file("modules/it.js", limit_bytes=100) == b"it\n"


async def test_a_copy_that_is_not_of_the_key_is_refused(any_bench: Bench) -> None:
    keeper = any_bench.engine.environments
    with pytest.raises(SandboxUnavailable, match="no environment nothing to copy"):
        await keeper.pack("nothing", any_bench.folder / "copy")
    sandbox = await any_bench.set_up("one")
    await sandbox.keep(made("one"))
    await sandbox.close()
    await keeper.pack("one", any_bench.folder / "copy")
    with pytest.raises(SandboxUnavailable, match="not of the environment other"):
        await keeper.unpack("other", any_bench.folder / "copy")
    assert await keeper.find("other") is None


async def test_the_last_used_environment_is_listed_first(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    for key in "k1", "k2":
        sandbox = await any_bench.set_up(key)
        await sandbox.keep(made(key))
        await sandbox.close()
        await asyncio.sleep(1.1 if any_bench.engine.name != "fake" else 0)
    assert [each.key for each, _ in await environments.list()] == ["k2", "k1"]
    await environments.find("k1")
    assert [each.key for each, _ in await environments.list()] == ["k1", "k2"]


async def test_the_same_base_has_the_same_identity(any_bench: Bench) -> None:
    environments = any_bench.engine.environments
    assert await environments.identity(any_bench.base) == await environments.identity(any_bench.base) != ""


# In the real ones


async def test_home_is_written_by_a_set_up_alone(bench: Bench) -> None:
    await bench.build("k1", f"{TOOL}; ln -s {BIN}/tool {HOME}/link")
    agent = await bench.start("k1")
    ran = await agent.run(sh(f"tool; {HOME}/link; echo x >{HOME}/x; echo x >>{BIN}/tool; rm {HOME}/link; tool"))
    assert ran.output.startswith(b"works\nworks\n"), ran.output
    refused = [
        line for line in ran.output.splitlines() if line.endswith((b"Read-only file system", b"Permission denied"))
    ]
    assert len(refused) == 3, ran.output
    assert ran.output.endswith(b"works\n")


async def test_package_caches_outlive_a_set_up_and_no_agent_sees_them(bench: Bench) -> None:
    await bench.build("k1", f"echo package >{CACHE}/package")
    await bench.build("k2", f"cat {CACHE}/package && echo more >>{CACHE}/package")
    agent = await bench.start("k2")
    assert (await agent.run(sh(f"ls {CACHE}/package"))).exit_code == 2


async def test_secrets_and_variables_of_an_order_reach_the_set_up_alone(bench: Bench) -> None:
    sandbox = await bench.set_up("k1", variables={"TOKEN": "from-order"}, secrets={"npmrc": "s3cret\n"})
    seen = await sandbox.run(sh(f'echo "$TOKEN $HOME" && cat /run/secrets/npmrc && touch {HOME}/x'))
    assert seen.output == f"from-order {SETUP_USER_HOME}\ns3cret\n".encode()
    await sandbox.keep(made("k1"))
    await sandbox.close()
    agent = await bench.start("k1")
    assert (await agent.run(sh("echo $TOKEN; cat /run/secrets/npmrc"))).exit_code == 1
    found = [path for path in (bench.folder / "state").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert found == []


async def test_folders_of_an_order_are_there_at_the_same_place(bench: Bench) -> None:
    index = bench.folder / "index of packages"
    index.mkdir()
    (index / "wheel").write_text("wheel\n")
    certificate = bench.folder / "ca.pem"
    certificate.write_text("certificate\n")
    sandbox = await bench.set_up("k1", folders=(index, certificate))
    seen = await sandbox.run(sh(f"cat '{index}/wheel' '{certificate}'; echo x >'{index}/wheel'; touch '{index}/new'"))
    assert seen.output.startswith(b"wheel\ncertificate\n"), seen.output
    assert seen.exit_code == 1
    assert [path.name for path in index.iterdir()] == ["wheel"]


async def test_variables_and_paths_of_an_environment_are_set_for_commands(bench: Bench) -> None:
    sandbox = await bench.set_up("k1", paths=("/first", "/second"))
    assert (await sandbox.run(sh("echo $PATH"))).output.startswith(f"/first:/second:{BIN}:/usr".encode())
    more = {"variables": {"A": "kept", "B": "kept"}, "offline_variables": {"OFFLINE": "yes"}, "paths": ("/third",)}
    await sandbox.keep(made("k1", **more))
    await sandbox.close()
    agent = await bench.start("k1", environment={"B": "the run's"})
    seen = await agent.run(sh("echo $A $B $OFFLINE $PATH"))
    assert seen.output.startswith(f"kept the run's yes /third:{BIN}:/usr".encode()), seen.output


async def test_a_workspace_with_what_a_set_up_left_is_clean_to_git(bench: Bench) -> None:
    names = ("plain", "with space", "#sharp", "!bang", "star*", "[a]", "back\\slash", "trailing ", "line\nbreak", "ü")
    sandbox = await bench.set_up("k1")
    for name in names:
        await sandbox.write_file(name, b"made\n")
    done = await sandbox.run(
        sh("printf x >$'not-\\xff-utf8'; mkdir -p modules/d folder; echo x >folder/x.log; ln -s /etc modules/l")
    )
    assert done.ok, done.output
    await sandbox.keep(made("k1"))
    await sandbox.close()
    agent = await bench.start("k1")
    seen = await agent.run(
        sh("git status --porcelain; git add -A; git status --porcelain; ls -A | wc -l; readlink modules/l")
    )
    assert seen.output == f"{len(names) + 7}\n/etc\n".encode(), seen.output
    await agent.write_file("star1", b"the agent's\n")
    await agent.write_file("folder/new.txt", b"the agent's\n")
    shot = await agent.snapshot(bench.folder / "work.pack")
    assert shot is not None
    found = unpack_snapshot(bench.repository, shot.pack, shot.tip)
    assert set(found) == {b"a.txt", b"folder/c.txt", b".gitignore", b"star1", b"folder/new.txt"}


async def test_an_agent_changes_and_renames_what_a_set_up_left(bench: Bench) -> None:
    await bench.build("k1", "mkdir -p modules/a/b folder/made && echo x >modules/a/b/c && echo y >folder/made/d")
    agent = await bench.start("k1")
    line = "echo more >>modules/a/b/c && mv modules/a modules/z && mv folder moved && rm -r moved/made && cat modules/z/b/c"
    seen = await agent.run(sh(line))
    assert seen.output == b"x\nmore\n", seen.output
    shot = await agent.snapshot(bench.folder / "work.pack")
    assert shot is not None
    assert b"moved/c.txt" in unpack_snapshot(bench.repository, shot.pack, shot.tip)


async def test_a_restarted_sandbox_has_its_environment_again(bench: Bench) -> None:
    await bench.build("k1", f"{TOOL}; mkdir modules; echo x >modules/a")
    agent = await bench.start("k1")
    await agent.run(sh("echo y >>modules/a; kill -9 -1"))
    seen = await agent.run(sh("tool; cat modules/a; touch /opt/codexteam/x"))
    assert seen.output.startswith(b"works\nx\ny\n"), seen.output
    assert b"Read-only" in seen.output


async def test_git_folders_and_programs_with_rights_are_not_kept(bench: Bench) -> None:
    line = "mkdir -p modules/own; echo 'gitdir: /etc' >modules/own/.git; echo x >modules/own/file; echo x >.git/hooks-of-mine"
    await bench.build("k1", f"{line}; cp /bin/true {HOME}/s; chmod u+s {HOME}/s; mkfifo {HOME}/fifo")
    agent = await bench.start("k1")
    seen = await agent.run(
        sh(f"ls -A modules/own; ls .git/hooks-of-mine {HOME}/fifo 2>&1 | wc -l; stat -c %A {HOME}/s")
    )
    assert seen.output == b"file\n2\n-rwxr-xr-x\n", seen.output
