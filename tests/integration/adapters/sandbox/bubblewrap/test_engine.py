"""What is bubblewrap's own: starting again, binaries, users, limits, and that nothing is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.bubblewrap.cgroups import find_groups
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.sandbox.bubblewrap.launch_plan import Binary, Launch, find_binaries, find_interpreter
from codexteam.adapters.sandbox.bubblewrap.processes import BubblewrapStartError, launch
from codexteam.adapters.sandbox.bubblewrap.sandbox_start import group_name, owner_of
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.errors import SandboxLost, SandboxUnavailable
from codexteam.ports.sandbox import Command, Sandbox, SandboxSpec
from tests.support_base_source import base_source, commit_all, make_repository
from tests.support_processes import wait_for_end

pytestmark = pytest.mark.bubblewrap
RUN = RunId(f"engine-{os.getpid()}")
Start = Callable[..., Awaitable[Sandbox]]


def sh(line: str, **more: object) -> Command:
    return Command(("bash", "-c", line), **more)  # type: ignore[arg-type]  # as given


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BubblewrapEngine]:
    started = BubblewrapEngine(tmp_path / "state")
    yield started
    await started.close()


@pytest.fixture
def spec(tmp_path: Path) -> SandboxSpec:
    make_repository(tmp_path / "repository", {"a.txt": b"one\n", "folder/b.txt": b"two\n"})
    agent = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
    base = base_source(tmp_path / "repository", tmp_path / "base")
    return SandboxSpec(agent, base, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits(memory_bytes=1 << 30))


def below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []  # it ended since it was named
    return [int(child) for child in children] + [deep for child in children for deep in below(int(child))]


def kill_server() -> None:
    for child in below(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"server.pyz" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
                return


async def test_a_killed_server_is_started_again_over_the_same_files(
    engine: BubblewrapEngine, spec: SandboxSpec
) -> None:
    sandbox = await engine.start(spec)
    try:
        await sandbox.run(sh("echo kept >kept; rm folder/b.txt"))
        up = asyncio.Event()
        task = asyncio.create_task(sandbox.run(sh("echo up; sleep 1000"), on_output=lambda _: up.set()))
        await up.wait()
        kill_server()
        result = await task
        assert (result.exit_code, result.signal, result.timed_out) == (None, None, False)
        assert "unknown" in result.note
        after = await sandbox.run(sh("cat kept; ls folder | wc -l; git status --short"))
        assert after.output == b"kept\n0\n D folder/b.txt\n?? kept\n"
        assert not after.note
        lost = await sandbox.open(sh("sleep 1000"))
        kill_server()
        ended = (await lost.read(wait_seconds=30.0)).result
        assert ended is not None
        assert "unknown" in ended.note
        session = await sandbox.open(sh("cat kept"))
        seen = await session.read(wait_seconds=30.0)
        assert seen.output == b"kept\n"
        assert seen.result is not None
        assert "started again" in seen.result.note
    finally:
        await sandbox.close()


async def test_nothing_is_left_after_close(engine: BubblewrapEngine, spec: SandboxSpec, tmp_path: Path) -> None:
    before = set(below(os.getpid()))
    sandbox = await engine.start(spec)
    await sandbox.run(sh("setsid -f sleep 1000; (sleep 1000 &)"))
    session = await sandbox.open(sh("sleep 1000"))
    await session.read(wait_seconds=0.01)
    await sandbox.close()
    assert set(below(os.getpid())) == before
    groups = find_groups()
    assert groups is None or not groups.leftovers(owner_of(tmp_path / "state"))


@pytest.mark.slow
async def test_a_group_that_does_not_get_empty_is_left_for_a_sweep(
    engine: BubblewrapEngine, spec: SandboxSpec, tmp_path: Path
) -> None:
    groups = find_groups()
    if groups is None:
        pytest.skip("no control groups can be made here")
    name = group_name(owner_of(tmp_path / "state"), spec.agent)
    sandbox = await engine.start(spec)
    held = [folder / "held" for folder in groups.leftovers(name)[name].folders]
    for folder in held:
        folder.mkdir()
    try:
        await sandbox.close()
        with pytest.raises(SandboxLost, match="does not get empty"):
            await engine.sweep(RUN)
    finally:
        for folder in held:
            folder.rmdir()
    assert await engine.sweep(RUN) == [name]


async def test_a_killed_codexteam_leaves_no_process_and_a_sweep_the_rest(
    engine: BubblewrapEngine, spec: SandboxSpec, tmp_path: Path
) -> None:
    program = (
        "import asyncio, sys, pickle, pathlib\n"
        "from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine\n"
        "from codexteam.ports.sandbox import Command\n"
        "async def main():\n"
        "    spec = pickle.load(sys.stdin.buffer)\n"
        "    sandbox = await BubblewrapEngine(pathlib.Path(sys.argv[1])).start(spec)\n"
        "    command = Command(('bash', '-c', 'echo up; sleep 4321'))\n"
        "    await sandbox.run(command, on_output=lambda data: print('up', flush=True))\n"
        "asyncio.run(main())\n"
    )
    import pickle

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "state")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[5],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pickle.dumps(spec))
    process.stdin.close()
    assert await process.stdout.readline() == b"up\n"
    inside = below(process.pid)
    assert len(inside) >= 3
    process.kill()
    await process.wait()
    await wait_for_end(*inside)
    if find_groups() is not None:
        elsewhere = BubblewrapEngine(tmp_path / "another")
        assert await elsewhere.sweep(None) == []
        assert await engine.sweep(RUN, keep=[spec.agent]) == []
        assert await engine.sweep(RUN) == [group_name(owner_of(tmp_path / "state"), spec.agent)]
    assert await engine.sweep(RUN) == []


async def test_every_binary_there_is_works(spec: SandboxSpec, tmp_path: Path) -> None:
    for number, binary in enumerate(find_binaries()):
        engine = BubblewrapEngine(tmp_path / f"state-{number}", binaries=[binary])
        report = await engine.check()
        assert report.usable, report
        sandbox = await engine.start(spec)
        assert (await sandbox.run(sh("cat a.txt"))).output == b"one\n"
        await sandbox.close()
        await engine.close()


async def test_a_binary_that_does_not_work_is_one_clean_refusal(spec: SandboxSpec, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create \x1b[31mnew namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    tmp_path.chmod(0o755)
    for given in ([Binary(broken)], [Binary(Path("/bin/false"))], []):
        engine = BubblewrapEngine(tmp_path / "state", binaries=given)
        report = await engine.check()
        assert not report.usable
        assert "bubblewrap" in report.problem
        assert "\x1b" not in report.problem
        with pytest.raises(SandboxUnavailable) as caught:
            await engine.start(spec)
        assert caught.value.exit_code == 6
        assert caught.value.hint


async def test_a_start_that_is_given_up_takes_what_was_forked_with_it(tmp_path: Path) -> None:
    """A child that has not yet asked to die with its parent holds the pipes: waiting for these would never end."""
    forked = tmp_path / "forked"
    plan = Launch(Binary(Path("/bin/false")), find_interpreter(), SandboxLimits(), NetworkKind.NONE, True, tmp_path)
    # given up when it has forked, for what it says then, and not after some time in which it may not have come so far
    server = f"sleep 1000 & echo $! > {forked}; yes 'this is not a frame' | head -c 4096; wait"
    async with asyncio.timeout(60):
        with pytest.raises(BubblewrapStartError):
            await launch(plan, prefix=("/bin/sh", "-c", server))
        await wait_for_end(int(forked.read_text()))  # it closes its pipes a moment before it is gone


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    plan = Launch(Binary(Path("/bin/false")), find_interpreter(), SandboxLimits(), NetworkKind.NONE, True, tmp_path)
    async with asyncio.timeout(60):
        with pytest.raises(BubblewrapStartError, match="did not start in time"):
            await launch(plan, prefix=("/bin/sh", "-c", "exec sleep 1000"), timeout_seconds=0.2)


async def test_a_start_that_is_cancelled_ends_a_server_with_a_session_of_its_own(tmp_path: Path) -> None:
    """It is out of reach of a kill of bubblewrap's group, and not yet bound to bubblewrap's life: its input ends it."""
    plan = Launch(Binary(Path("/bin/false")), find_interpreter(), SandboxLimits(), NetworkKind.NONE, True, tmp_path)
    there = tmp_path / "server"
    # a job in the background would read from nowhere
    server = f"exec 3<&0; setsid sh -c 'echo $$ > {there}.new; mv {there}.new {there}; cat <&3' & wait"
    async with asyncio.timeout(60):
        starting = asyncio.create_task(launch(plan, prefix=("/bin/sh", "-c", server)))
        while not there.exists():
            await asyncio.sleep(0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await wait_for_end(int(there.read_text()))  # it closes its pipes a moment before it is gone


async def test_one_checkout_serves_every_workspace_of_a_commit(
    engine: BubblewrapEngine, spec: SandboxSpec, tmp_path: Path
) -> None:
    said: list[str] = []
    await engine.prepare(spec.base, on_progress=said.append)
    await engine.prepare(spec.base, on_progress=said.append)
    assert len(said) == 1
    sandboxes = await asyncio.gather(
        *(engine.start(replace(spec, agent=replace(spec.agent, attempt=number))) for number in range(2, 6))
    )
    for sandbox in sandboxes:
        await sandbox.run(sh("echo mine >a.txt; rm -r folder .git"))
    tree = tmp_path / "state" / "bases" / spec.base.root_commit / "tree"
    assert (tree / "a.txt").read_bytes() == b"one\n"
    assert (tree / "folder/b.txt").exists()
    for sandbox in sandboxes:
        await sandbox.close()


@pytest.mark.slow
async def test_old_checkouts_go_and_the_last_ones_stay(spec: SandboxSpec, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for number in range(5):
        (repository / "a.txt").write_text(str(number))
        commit_all(repository, f"more {number}")
        engine = BubblewrapEngine(tmp_path / "state")
        await engine.prepare(base_source(repository, tmp_path / f"base-{number}"))
        await engine.close()
    engine = BubblewrapEngine(tmp_path / "state")
    assert len(await engine.sweep(RUN)) == 2
    assert len(list((tmp_path / "state" / "bases").iterdir())) == 3
    await engine.close()


async def test_an_allowlist_is_kept_by_name(engine: BubblewrapEngine, spec: SandboxSpec) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = NetworkPolicy(NetworkKind.ALLOWLIST, (f"localhost:{port}",))
    sandbox = await engine.start(replace(spec, network=policy))
    fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read())"
    try:
        for _ in range(2):
            got = await sandbox.run(Command(("python3", "-c", fetch, f"http://localhost:{port}/")))
            assert got.output == b"b'hello'\n", got
            other = await sandbox.run(Command(("python3", "-c", fetch, f"http://127.0.0.1:{port}/")))
            assert b"403" in other.output, other
            direct = await sandbox.run(sh(f"exec 3<>/dev/tcp/127.0.0.1/{port}"))
            assert not direct.ok
            await sandbox.run(sh("kill -9 -1"))  # and then it still holds
    finally:
        await sandbox.close()
        server.close()


async def test_open_network_reaches_the_hosts_loopback(engine: BubblewrapEngine, spec: SandboxSpec) -> None:
    arrived = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    more = {"mode": SandboxMode.DANGER_FULL_ACCESS, "network": NetworkPolicy(NetworkKind.OPEN)}
    sandbox = await engine.start(replace(spec, **more))  # type: ignore[arg-type]  # as given
    assert (await sandbox.run(sh(f"exec 3<>/dev/tcp/127.0.0.1/{port}"))).ok
    async with asyncio.timeout(60):
        await arrived.wait()
    await sandbox.close()
    server.close()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user gets to; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="codexteam-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("way", ["whole", "plain"])
@pytest.mark.parametrize(
    "binary",
    [pytest.param(binary, marks=pytest.mark.slow if number else ()) for number, binary in enumerate(find_binaries())],
    ids=lambda binary: "bundled" if binary.bundled else "system",
)
@pytest.mark.slow
def test_it_works_without_root(binary: Binary, way: str, reachable: Path) -> None:
    python = "/usr/bin/python3"
    old = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not Path(python).exists() or subprocess.run([python, "-c", old], check=False).returncode:
        pytest.skip("needs a system Python that can run codexteam")
    make_repository(reachable / "repository", {"a.txt": b"one\n", "folder/b": b"two\n"})
    home = reachable / "home"
    home.mkdir()
    subprocess.run(["chown", "-R", "4321:4321", home, reachable / "repository"], check=True)
    program = Path(__file__).with_name("as_somebody.py")
    somebody = ["setpriv", "--reuid", "4321", "--regid", "4321", "--clear-groups"]
    argv = [str(program.parents[5]), str(home), str(reachable / "repository"), str(binary.path), way]
    identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), **identity}
    done = subprocess.run(
        [*somebody, python, "-B", program, *argv], check=False, capture_output=True, cwd="/", env=environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert done.stdout.startswith(b"lived")
