"""Set-ups on bubblewrap: real package managers, full disks, kills, and code that wants out."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.sandbox.bubblewrap.environments import SetupPlace
from codexteam.app.compose import possible_engines
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.environment.plan import CACHE, HOME
from codexteam.environment.pruning import UNUSED_SECONDS
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder, SetupSandbox
from codexteam.ports.sandbox import Command, Sandbox, SandboxSpec
from tests.integration.adapters.sandbox.bubblewrap.test_engine import kill_server
from tests.support_base_source import base_source, commit_all, make_repository

pytestmark = pytest.mark.bubblewrap
PYTHON = "/usr/bin/python3"
LIMITS = SandboxLimits(memory_bytes=1 << 30, workspace_bytes=1 << 30)


def sh(line: str) -> Command:
    return Command(("bash", "-c", line))


@dataclass
class World:
    """An engine with a repository, and what it started."""

    folder: Path
    engine: BubblewrapEngine = field(init=False)
    started: list[Sandbox] = field(default_factory=list)

    def __post_init__(self) -> None:
        make_repository(
            self.folder / "repository",
            {"a.txt": b"one\n", ".gitignore": b"node_modules/\n", "package.json": b'{"dependencies": {}}'},
        )
        self.base = base_source(self.folder / "repository", self.folder / "base")
        self.kept = self.folder / "cache" / "environments"
        self.engine = BubblewrapEngine(self.folder / "state", environments=self.kept)

    def agent(self) -> AgentKey:
        return AgentKey(RunId(f"set-up-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", len(self.started) + 1)

    async def set_up(self, key: str = "key", **more: object) -> SetupSandbox:
        order = SetupOrder(key, self.agent(), self.base, NetworkPolicy(), LIMITS)
        sandbox = await self.engine.environments.set_up(replace(order, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox

    async def build(self, line: str, key: str = "key", **more: object) -> Environment:
        sandbox = await self.set_up(key, **more)
        done = await sandbox.run(sh(line))
        assert done.ok, done.output.decode()
        kept = await sandbox.keep(Environment(key, "the test", 0, 0.0, paths=(f"{HOME}/venv/bin",)))
        await sandbox.close()
        return kept

    async def start(self, key: str = "key", **more: object) -> Sandbox:
        spec = SandboxSpec(
            self.agent(), self.base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), LIMITS, environment_key=key
        )
        sandbox = await self.engine.start(replace(spec, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox

    def names(self) -> list[str]:
        return sorted(path.name for path in self.kept.iterdir() if path.name not in {".caches", ".claims"})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    for sandbox in made.started:
        await sandbox.close()
    await made.engine.sweep(None)
    await made.engine.close()


def make_wheel(folder: Path, name: str, code: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name}-tool = {name}:main\n")
        wheel.writestr(f"{info}/RECORD", "")


# Real package managers


@pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", "import ensurepip"], check=False, capture_output=True).returncode != 0,
    reason="needs the system's Python with ensurepip",
)
@pytest.mark.slow
async def test_what_pip_installed_runs_offline_in_every_workspace(world: World) -> None:
    make_wheel(world.folder / "index", "greeter", "def main():\n    print('hello from', __file__)\n")
    install = f"pip install -q --no-index --cache-dir {CACHE}/pip --find-links '{world.folder}/index' greeter"
    await world.build(
        f"python3 -m venv {HOME}/venv && . {HOME}/venv/bin/activate && {install}", folders=(world.folder / "index",)
    )
    agent = await world.start()
    seen = await agent.run(sh("greeter-tool; python -c 'import greeter; greeter.main()'; pip uninstall -qy greeter"))
    assert seen.output.count(f"hello from {HOME}/venv/lib".encode()) == 2, seen.output
    assert not seen.ok
    assert (await agent.run(sh("greeter-tool; ls -d /var/cache/codexteam " + str(world.folder)))).exit_code == 2


@pytest.mark.skipif(shutil.which("npm", path="/usr/bin:/usr/local/bin") is None, reason="needs the system's npm")
@pytest.mark.slow
async def test_what_npm_installed_is_there_and_an_agent_may_change_its_copy(world: World) -> None:
    package = world.folder / "packages" / "left-pad"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "left-pad", "version": "1.0.0", "bin": "bin.js"}')
    (package / "bin.js").write_text("#!/usr/bin/env node\nconsole.log('padded')\n")
    manifest = f'{{"dependencies": {{"left-pad": "file:{package}"}}}}'
    (world.folder / "repository" / "package.json").write_text(manifest)
    commit_all(world.folder / "repository", "with a dependency")
    world.base = base_source(world.folder / "repository", world.folder / "base")
    install = f"npm install --install-links --offline --no-audit --no-fund --cache {CACHE}/npm"
    await world.build(install, folders=(package.parent,), variables={"npm_config_update_notifier": "false"})
    agent = await world.start()
    change = "echo 'console.log(\"changed\")' >node_modules/left-pad/bin.js && node node_modules/.bin/left-pad"
    line = f"npx --offline left-pad && {change}"
    seen = await agent.run(sh(f"{line} && git status --porcelain && mv node_modules gone && mv gone node_modules"))
    assert seen.output == b"padded\nchanged\n", seen.output
    assert seen.ok
    other = await world.start()
    assert (await other.run(sh("node node_modules/.bin/left-pad"))).output == b"padded\n"


# Disks, kills and other processes


async def test_a_set_up_that_fills_its_disk_is_ended_and_leaves_nothing(world: World) -> None:
    sandbox = await world.set_up(limits=replace(LIMITS, workspace_bytes=64 << 20))
    with pytest.raises(SandboxLost, match="more than the 64 MB allowed"):
        await sandbox.run(sh(f"while :; do head -c 8M /dev/zero >>{HOME}/$RANDOM; done"))
    with pytest.raises(SandboxLost):
        await sandbox.keep(Environment("key", "the test", 0, 0.0))
    await sandbox.close()
    assert world.names() == []
    assert await world.engine.environments.find("key") is None


_BUILDER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.adapters.sandbox.bubblewrap.test_bubblewrap_environments import World, sh

async def main():
    world = World(Path(sys.argv[2]))
    async with world.engine.environments.claim("key"):
        sandbox = await world.set_up()
        await sandbox.run(sh("mkdir -m 555 node_modules && echo half >a.txt"))
        print("at work", flush=True)
        await sandbox.run(sh("sleep 1000"))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_killed_set_up_leaves_nothing_to_find_and_the_next_one_works(world: World) -> None:
    root = str(Path(__file__).parents[5])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _BUILDER, root, str(world.folder / "other")), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"at work\n"
    # the other process's folder is this one's: both are of one user
    world.engine = BubblewrapEngine(world.folder / "state", environments=world.folder / "other/cache/environments")
    world.kept = world.folder / "other/cache/environments"
    environments = world.engine.environments
    assert await environments.find("key") is None
    await world.engine.sweep("no-such-run")
    assert world.names() == [".new-key"]
    waiting = asyncio.create_task(environments.claim("key").__aenter__())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(20):
        await waiting
    assert await environments.find("key") is None
    kept = await world.build("mkdir node_modules; echo whole >node_modules/x")
    assert await environments.find("key") == kept
    assert world.names() == ["key"]


async def test_a_sweep_takes_what_killed_set_ups_left(world: World) -> None:
    (world.kept / ".new-left" / "work").mkdir(parents=True)
    async with world.engine.environments.claim("claimed"):
        (world.kept / ".new-claimed").mkdir()
        assert ".new-left" in await world.engine.sweep("no-such-run")
        assert world.names() == [".new-claimed"]


async def test_what_another_repository_no_longer_uses_goes_after_a_month(world: World) -> None:
    await world.build("mkdir node_modules")
    for owner in ("01234567", "89abcdef", "not-ours"):
        shutil.copytree(world.kept / "key", world.kept.parent / owner / "key")
    long_ago = time.time() - UNUSED_SECONDS - 60
    for owner in ("01234567", "not-ours"):
        os.utime(world.kept.parent / owner / "key" / "lock", (long_ago, long_ago))
    await world.engine.sweep("no-such-run")
    assert sorted(path.parent.name for path in world.kept.parent.glob("*/key")) == [
        "89abcdef",
        world.kept.name,
        "not-ours",
    ]
    os.utime(world.kept.parent / "01234567", (long_ago, long_ago))
    await world.engine.sweep("no-such-run")
    assert not (world.kept.parent / "01234567").exists()


def test_two_repositories_share_no_environments(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    settings = SandboxSettings(kind="bubblewrap")

    async def claim(name: str) -> None:
        [engine] = possible_engines(settings, state_dir=tmp_path / name, environment=environment)
        async with engine.environments.claim("key"):
            pass

    for name in ("one", "other"):
        asyncio.run(claim(name))
    assert len(list((tmp_path / "cache").rglob("key.lock"))) == 2


async def test_one_in_use_may_be_built_anew_and_its_users_keep_theirs(world: World) -> None:
    await world.build("mkdir node_modules; echo first >node_modules/x")
    user = await world.start()
    await world.build("mkdir node_modules; echo second >node_modules/x")
    assert (await user.run(sh("cat node_modules/x; echo more >>node_modules/x"))).output == b"first\n"
    kill_server()
    async with asyncio.timeout(20):
        while not (seen := await user.run(sh(f"cat node_modules/x; touch {HOME}/x"))).output:
            pass
    assert seen.output.startswith(b"first\nmore\n"), seen.output
    assert b"Read-only" in seen.output
    assert (await (await world.start()).run(sh("cat node_modules/x"))).output == b"second\n"
    await user.close()
    await world.engine.sweep("no-such-run")
    assert world.names() == ["key"]


async def test_a_damaged_or_newer_manifest_is_an_environment_that_is_not_there(world: World) -> None:
    await world.build("mkdir node_modules")
    (world.kept / "key" / "environment.json").write_text('{"key": "key", "made_at_seconds": []}')
    assert await world.engine.environments.find("key") is None
    await world.build("mkdir node_modules")
    assert await world.engine.environments.find("key") is not None


async def test_package_caches_are_started_anew_only_while_no_set_up_works(world: World) -> None:
    place = SetupPlace(world.kept, "key")
    place.make()
    (place.caches / "package").touch()
    place.remove_caches()
    assert (place.caches / "package").exists()
    place.remove()
    place.remove_caches()
    assert not place.caches.exists()
    await world.build(f"touch {CACHE}/package")


# Attacks


async def test_a_set_up_writes_nowhere_but_in_its_own_folders(world: World) -> None:
    sandbox = await world.set_up(network=NetworkPolicy(NetworkKind.ALLOWLIST, ("example.org",)))
    places = (
        "/usr/x",
        "/etc/x",
        "/x",
        "/opt/x",
        "/var/cache/x",
        "/run/x",
        f"{world.folder}/x",
        "/root/x",
        "/proc/sys/x",
    )
    tried = await sandbox.run(sh("; ".join(f"touch {place} && echo wrote {place}" for place in places)))
    assert b"wrote" not in tried.output
    reached = await sandbox.run(
        Command(("python3", "-c", "import urllib.request as r; r.urlopen('http://example.com/')"))
    )
    assert b"403" in reached.output
    assert (
        await sandbox.run(sh("id -u; grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status | cut -f2"))
    ).output == (b"10001\n0000000000000000\n1\n2\n")


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf .git && ln -s /etc .git",
        f"rm -rf .git && mkdir -p {HOME}/fake && ln -s {HOME}/fake .git",
        "rm -rf .git && echo x >.git",
        "ln -s OUTSIDE .git/codexteam-layer",
    ],
)
async def test_a_set_up_cannot_have_files_of_the_host_moved(world: World, line: str) -> None:
    outside = world.folder / "outside"
    (outside / "files").mkdir(parents=True)
    (outside / "about.json").write_text('{"names": []}')
    outside.chmod(0o777)
    sandbox = await world.set_up()
    done = await sandbox.run(sh(line.replace("OUTSIDE", str(outside))))
    assert done.ok, done.output
    try:
        await sandbox.keep(Environment("key", "the test", 0, 0.0))
    except (SandboxUnavailable, SandboxLost):
        assert await world.engine.environments.find("key") is None
    else:
        assert not (world.kept / "key" / "layer").is_symlink()
    assert sorted(path.name for path in outside.iterdir()) == ["about.json", "files"]


async def test_links_in_a_layer_lead_nowhere_outside_a_sandbox(world: World) -> None:
    secret = world.folder / "secret"
    secret.write_text("of the host\n")
    await world.build(f"ln -s '{secret}' link && ln -s '{world.folder}' node_modules && ln -s '{secret}' {HOME}/link")
    agent = await world.start()
    assert b"of the host" not in (await agent.run(sh(f"cat link {HOME}/link node_modules/secret"))).output
    assert secret.read_text() == "of the host\n"
