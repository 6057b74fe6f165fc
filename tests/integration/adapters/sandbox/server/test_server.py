"""The program inside a sandbox and the host's side of it, as a bare local process: what no sandbox is needed for."""

import asyncio
import contextlib
import errno
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.channel_sandbox import ChannelSandbox
from codexteam.adapters.sandbox.program import server_program, server_settings, start_command
from codexteam.adapters.sandbox.protocol import ChannelClosedError, GitInSandboxError
from codexteam.agent.patch import PatchRefused, apply_patch
from codexteam.agent.tools.files import ViewImage
from codexteam.agent.tools.tool import ToolProblem
from codexteam.agent.tools.tool_context import ToolContext, ToolLimits
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.core.redaction import Redactor
from codexteam.errors import SandboxLost
from codexteam.ports.sandbox import BaseSource, Command, SandboxFacts, SandboxSpec
from tests.fakes.fake_clock import FakeClock
from tests.support_base_source import base_source, commit_all, make_repository, unpack_snapshot
from tests.support_processes import is_alive, wait_for_end

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
Start = Callable[..., Awaitable[Channel]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts servers over `tmp_path/work`; all are ended afterwards."""
    started: list[tuple[Channel, asyncio.subprocess.Process]] = []

    async def start_server(output_cap_bytes: int = 16 << 20) -> Channel:
        (tmp_path / "work").mkdir(exist_ok=True)
        settings = server_settings(
            workspace=str(tmp_path / "work"),
            private=str(tmp_path / "private"),
            alone=False,
            output_cap_bytes=output_cap_bytes,
        )
        (tmp_path / "server.pyz").write_bytes(server_program())
        process = await asyncio.create_subprocess_exec(
            *start_command(sys.executable, str(tmp_path / "server.pyz"), settings),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=ENV,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        channel = Channel(process.stdout, process.stdin)
        await channel.ready()
        started.append((channel, process))
        return channel

    yield start_server
    for channel, process in started:
        await channel.close()
        await process.wait()


def sh(line: str, tmp_path: Path, **more: object) -> Command:
    return Command(("bash", "-c", line), cwd=str(tmp_path / "work"), **more)  # type: ignore[arg-type]  # as given


async def test_a_command_gives_its_output_and_exit_code(start: Start, tmp_path: Path) -> None:
    result = await (await start()).run(sh("echo out; echo err >&2; exit 3", tmp_path), ENV)
    assert (result.exit_code, result.signal, result.timed_out) == (3, None, False)
    assert sorted(result.output.split()) == [b"err", b"out"]


async def test_a_signal_is_no_exit_code(start: Start, tmp_path: Path) -> None:
    result = await (await start()).run(sh("kill -TERM $$", tmp_path), ENV)
    assert (result.exit_code, result.signal) == (None, 15)


async def test_a_program_that_is_not_there_ends_as_in_a_shell(start: Start, tmp_path: Path) -> None:
    result = await (await start()).run(Command(("no-such-program",), cwd=str(tmp_path)), ENV)
    assert result.exit_code == 127
    assert b"no-such-program" in result.output


async def test_stdin_is_read_to_its_end(start: Start, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    result = await (await start()).run(sh("sha256sum", tmp_path, stdin=data), ENV)
    import hashlib

    assert result.output.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_a_deadline_kills_daemons_that_left_session_and_environment(start: Start, tmp_path: Path) -> None:
    line = "env -i setsid -f sleep 1000; (setsid sleep 1000 & echo $! >own); sleep 1000 & echo $! >child; wait"
    channel = await start()
    seconds, pids = 0.25, [0, 0]
    while 0 in pids:  # on a busy machine its time may be over before they are there: then it gets more
        seconds *= 2
        result = await channel.run(sh(line, tmp_path, timeout_seconds=seconds), ENV)
        assert result.timed_out
        assert result.exit_code is None
        assert seconds <= result.wall_seconds < seconds + 30
        pids = [_pid_in(tmp_path / "work" / name) for name in ("child", "own")]
    await wait_for_end(*pids)


def _pid_in(path: Path) -> int:
    """Give the process that a file names; 0 while it names none."""
    return int(path.read_text().strip() or 0) if path.exists() else 0


async def test_what_a_command_leaves_running_is_ended_with_it(start: Start, tmp_path: Path) -> None:
    line = "sleep 1000 & echo $! >child; setsid -f sleep 1000; trap '' TERM; echo done"
    result = await (await start()).run(sh(line, tmp_path), ENV)
    assert result.exit_code == 0
    assert result.output == b"done\n"
    assert "2 processes" in result.note
    await wait_for_end(int((tmp_path / "work/child").read_text()))


async def test_ending_one_command_leaves_anothers_daemon_alone(start: Start, tmp_path: Path) -> None:
    channel = await start()
    ready = asyncio.Event()
    line = "setsid -f bash -c 'echo $$ >daemon; sleep 1000'; while [ ! -s daemon ]; do :; done; echo up; read x"
    number, end = channel.start_session(sh(line, tmp_path), ENV, lambda _: ready.set(), dialogue=True)
    await ready.wait()
    assert (await channel.run(sh("true", tmp_path), ENV)).ok
    daemon = int((tmp_path / "work/daemon").read_text())
    assert is_alive(daemon)
    await channel.write(number, b"go\n")
    await end
    await wait_for_end(daemon)


async def test_output_is_clipped_in_the_middle(start: Start, tmp_path: Path) -> None:
    result = await (await start()).run(sh("echo first; seq 100000; echo last", tmp_path, output_limit_bytes=4096), ENV)
    assert result.output.startswith(b"first\n")
    assert result.output.endswith(b"last\n")
    assert b"bytes left out" in result.output
    assert len(result.output) <= 4096
    assert result.output_bytes > 500_000


async def test_endless_output_is_killed_at_the_cap(start: Start, tmp_path: Path) -> None:
    channel = await start(output_cap_bytes=1 << 20)
    for line in ("yes", "tr '\\0' a </dev/zero"):
        result = await channel.run(sh(line, tmp_path), ENV)
        assert result.killed_for_output
        assert result.exit_code is None
        assert not result.ok
        assert len(result.output) <= 1 << 20


async def test_output_is_streamed_as_it_comes(start: Start, tmp_path: Path) -> None:
    channel = await start()
    pieces: list[bytes] = []
    go = tmp_path / "work/go"

    def take(data: bytes) -> None:
        pieces.append(data)
        go.touch()

    line = "echo one; while [ ! -e go ]; do :; done; echo two"
    result = await channel.run(sh(line, tmp_path), ENV, on_output=take)
    assert b"".join(pieces) == result.output == b"one\ntwo\n"


async def test_commands_run_at_the_same_time(start: Start, tmp_path: Path) -> None:
    channel = await start()
    lines = [f"touch at-{n}; while [ $(ls at-* | wc -l) -lt 8 ]; do :; done" for n in range(8)]
    async with asyncio.timeout(30):
        results = await asyncio.gather(*(channel.run(sh(line, tmp_path), ENV) for line in lines))
    assert all(result.ok for result in results)


async def test_cancelling_kills(start: Start, tmp_path: Path) -> None:
    channel = await start()
    up = asyncio.Event()
    line = "sleep 1000 & echo $! >child; echo up; wait"
    task = asyncio.create_task(channel.run(sh(line, tmp_path), ENV, on_output=lambda _: up.set()))
    await up.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while is_alive(int((tmp_path / "work/child").read_text())):
            await channel.run(sh("true", tmp_path), ENV)


async def test_a_session_with_a_terminal_talks(start: Start, tmp_path: Path) -> None:
    channel = await start()
    said = bytearray()
    heard = asyncio.Event()

    def take(data: bytes) -> None:
        said.extend(data)
        heard.set()

    number, end = channel.start_session(sh("test -t 0 && tty; read x; echo got $x", tmp_path, tty=True), ENV, take)
    async with asyncio.timeout(30):
        while b"/dev/pts" not in said:
            heard.clear()
            await heard.wait()
        await channel.write(number, b"hello\n")
        header, _ = await end
    assert b"got hello" in said
    assert header["exit_code"] == 0


async def test_a_session_is_interrupted_through_its_terminal(start: Start, tmp_path: Path) -> None:
    channel = await start()
    up = asyncio.Event()
    number, end = channel.start_session(sh("echo up; exec sleep 1000", tmp_path, tty=True), ENV, lambda _: up.set())
    await up.wait()
    await channel.write(number, b"\x03")
    header, _ = await asyncio.wait_for(end, 30)
    assert header["signal"] == 2


async def test_signals_to_the_server_do_not_end_it(start: Start, tmp_path: Path) -> None:
    channel = await start()
    line = "for s in INT TERM HUP QUIT USR1 USR2 ALRM PIPE TSTP VTALRM RTMIN; do kill -$s $PPID; done; echo sent"
    assert (await channel.run(sh(line, tmp_path), ENV)).output == b"sent\n"
    assert (await channel.run(sh("echo alive", tmp_path), ENV)).output == b"alive\n"


async def test_a_killed_server_leaves_the_result_unknown(start: Start, tmp_path: Path) -> None:
    channel = await start()
    with pytest.raises(ChannelClosedError):
        await channel.run(sh("kill -9 $PPID; sleep 5", tmp_path), ENV)
    assert channel.closed


async def test_commands_inherit_no_ignored_signals_and_no_descriptors(start: Start, tmp_path: Path) -> None:
    line = "grep SigIgn /proc/self/status; ls /proc/self/fd | wc -l"
    result = await (await start()).run(sh(line, tmp_path), ENV)
    words = result.output.split()
    assert int(words[1], 16) == 0
    assert int(words[2]) <= 4


async def test_files_are_read_and_written_inside_only(start: Start, tmp_path: Path) -> None:
    channel = await start()
    work = tmp_path / "work"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (work / "away").symlink_to(outside)
    (work / "loop").symlink_to("loop")
    (work / "within").symlink_to("dir/new.txt")
    await channel.write_file("dir/new.txt", b"hello", executable=True)
    assert (work / "dir/new.txt").stat().st_mode & 0o777 == 0o755
    await channel.write_file(str(work / "within"), b"through a link", executable=None)
    assert (work / "within").is_symlink()
    assert (work / "dir/new.txt").read_bytes() == b"through a link"
    assert (work / "dir/new.txt").stat().st_mode & 0o777 == 0o755
    assert await channel.read_file("within", limit_bytes=100) == b"through a link"
    assert await channel.read_file("none", limit_bytes=100) is None
    os.mkfifo(work / "fifo")
    for path in ("away/secret", "../outside/secret", str(outside / "secret"), "dir", "fifo", "/etc/passwd", "loop"):
        with pytest.raises(ValueError, match="outside|regular"):
            await channel.read_file(path, limit_bytes=100)
    for path in ("away/new", "../new", "dir", "dir/", "/etc/x", "dir/new.txt/x"):
        with pytest.raises(ValueError, match="outside|folder|regular"):
            await channel.write_file(path, b"x", executable=None)
    for path in ("away/secret", "../outside/secret", "dir", "."):
        with pytest.raises(ValueError, match="outside|folder"):
            await channel.write_file(path, None, executable=None)
    with pytest.raises(ValueError, match="more than"):
        await channel.read_file("within", limit_bytes=3)
    await channel.write_file("away", None, executable=None)
    assert (outside / "secret").exists()
    assert not (work / "away").is_symlink()


async def test_a_base_a_delta_and_extra_files_make_the_workspace(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    root = make_repository(
        repository, {"a.txt": b"one\n", "lfs.bin": b"pointer", "gone": b"x", ".gitignore": b"*.env\n"}
    )
    (repository / "a.txt").write_bytes(b"two\n")
    (repository / "gone").unlink()
    tip = commit_all(repository, "second")
    extra = {"lfs.bin": b"the real thing", "x.env": b"ignored", "module/file": b"not tracked"}
    base = base_source(repository, tmp_path / "state", root=root, commit=tip, extra=extra)
    channel = await start()
    await channel.populate(base, root=True)
    work = tmp_path / "work"
    assert (work / "a.txt").read_bytes() == b"two\n"
    assert (work / "lfs.bin").read_bytes() == b"the real thing"
    assert not (work / "gone").exists()
    status = await channel.run(sh("git status --porcelain && git log --oneline | cat", tmp_path), ENV)
    assert status.output.splitlines()[0].endswith(b"second"), status.output
    assert await channel.snapshot(tip, tmp_path / "none.pack", max_bytes=1 << 20) is None
    assert not list(tmp_path.glob("none.pack*"))


async def test_a_snapshot_holds_every_change_and_comes_back(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(
        repository, {"a": b"1\n", "b": b"2\n", "c": b"3\n", "link": "a", ".gitignore": b"ignored\n", "run": b"#!\n"}
    )
    base = base_source(repository, tmp_path / "state")
    channel = await start()
    await channel.populate(base, root=True)
    line = (
        "echo more >>a; rm b; mv c d; ln -sf d link; head -c 100000 /dev/zero | tr '\\0' '\\377' >blob; "
        "echo >$'non\\xffutf'; chmod +x run; echo >ignored; mkdir -p x/y; echo >x/y/z; "
        "git add a; git commit -qm mine; touch .git/index.lock"
    )
    assert (await channel.run(sh(line, tmp_path), ENV)).output == b""
    shot = await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20)
    assert shot is not None
    found = unpack_snapshot(repository, shot.pack, shot.tip)
    assert set(found) == {b"a", b"d", b"link", b"blob", b"non\xffutf", b"run", b"x/y/z", b".gitignore"}
    assert found[b"a"][1] == b"1\nmore\n"
    assert found[b"run"][0] == "100755"
    assert found[b"link"] == ("120000", b"d")
    again = await channel.snapshot(base_id, tmp_path / "again.pack", max_bytes=1 << 20)
    assert again is not None
    assert again.tip == shot.tip

    (tmp_path / "work").rename(tmp_path / "old")
    (tmp_path / "private").rename(tmp_path / "old-private")
    other = await start()
    await other.populate(base, root=True)
    await other.restore(shot)
    new = tmp_path / "work"
    assert not (new / "b").exists()
    assert (new / "x/y/z").exists()
    assert os.access(new / "run", os.X_OK)
    assert not (new / "ignored").exists()
    third = await other.snapshot(base_id, tmp_path / "third.pack", max_bytes=1 << 20)
    assert third is not None
    assert third.tip == shot.tip


async def test_a_destroyed_git_folder_does_not_keep_work_in(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n", "b": b"2\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    await channel.run(sh("rm -rf .git; echo junk >.git; echo new >a", tmp_path), ENV)
    shot = await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20)
    assert shot is not None
    assert unpack_snapshot(repository, shot.pack, shot.tip)[b"a"][1] == b"new\n"


async def test_even_without_our_own_git_data_the_work_comes_out_whole(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n", "b": b"2\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    await channel.run(sh("rm -rf .git ../private/git/objects/pack; echo new >a", tmp_path), ENV)
    shot = await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20)
    assert shot is not None
    found = unpack_snapshot(repository, shot.pack, shot.tip)
    assert {name: data for name, (_, data) in found.items()} == {b"a": b"new\n", b"b": b"2\n"}


async def test_an_embedded_repository_does_not_stop_a_snapshot(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    await channel.run(sh("git init -q sub; echo >sub/f; echo new >b; echo >c; chmod 0 c", tmp_path), ENV)
    shot = await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20)
    assert shot is not None
    assert unpack_snapshot(repository, shot.pack, shot.tip)[b"b"][1] == b"new\n"


async def test_planted_git_configuration_runs_nothing_in_a_snapshot(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    line = (
        "git config core.fsmonitor 'touch fsmonitor-ran;'; git config filter.x.clean 'touch filter-ran; cat'; "
        "echo '* filter=x' >.gitattributes; echo new >a; touch .git/keep"
    )
    await channel.run(sh(line, tmp_path), ENV)
    assert await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20) is not None
    assert not list((tmp_path / "work").glob("*-ran"))
    await channel.run(sh("git status", tmp_path), ENV)
    assert list((tmp_path / "work").glob("*-ran")), "the trap works where nothing protects"


async def test_a_snapshot_over_the_limit_is_refused_whole(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    await channel.run(sh("head -c 3000000 /dev/urandom >big", tmp_path), ENV)
    with pytest.raises(ValueError, match="larger"):
        await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 20)
    assert not list(tmp_path.glob("work.pack*"))


@pytest.mark.parametrize("kilobytes", [1, 600])
async def test_a_full_disk_of_ours_fails_the_snapshot_and_spares_the_server(
    kilobytes: int, start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    base_id = make_repository(repository, {"a": b"1\n"})
    channel = await start()
    await channel.populate(base_source(repository, tmp_path / "state"), root=True)
    await channel.run(sh(f"head -c {kilobytes}K /dev/urandom >big", tmp_path), ENV)
    _, session = channel.start_session(sh("read x; exit 7", tmp_path, tty=True), ENV, lambda _: None)
    (tmp_path / "work.pack.part").symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left") as raised:
        await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 30)

    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "work.pack.part"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("work.pack")]
    assert channel.closed is None
    assert not session.done()
    taken = await channel.snapshot(base_id, tmp_path / "work.pack", max_bytes=1 << 30)
    assert taken is not None
    assert taken.pack_bytes == taken.pack.stat().st_size > kilobytes << 10


async def test_one_who_cannot_take_output_ends_its_own_command_alone(start: Start, tmp_path: Path) -> None:
    channel = await start()
    other = asyncio.create_task(channel.run(sh("sleep 1; echo done", tmp_path), ENV))

    def refuse(_: bytes) -> None:
        raise ZeroDivisionError("this one")

    with pytest.raises(ZeroDivisionError, match="this one"):
        await channel.run(sh("echo $$ >pid; echo out; exec sleep 986", tmp_path), ENV, on_output=refuse)

    assert (await other).output == b"done\n"
    async with asyncio.timeout(30):
        while is_alive(int((tmp_path / "work" / "pid").read_text())):
            await asyncio.sleep(0.02)


_LATE = """
import os, time
from codexteam.adapters.sandbox.server.loop import Server
from codexteam.adapters.sandbox.server.running import Running
server, run = Server({"workspace": ".", "private": "private"}), Running(1, {}, 0)
out, written = os.pipe()
os.write(written, b"the last words")
os.close(written)
server.commands.adopt(run, out, -1)
# it ended, the host was slow to take what it had said before, and then the machine stood still
run.status, run.drain_until = 0, time.monotonic() - 1
server.commands.check_deadlines()
"""


def test_what_a_command_has_written_is_read_however_late_it_is_looked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LATE], cwd=Path(__file__).parents[5], stdout=subprocess.PIPE, check=True
    )
    head, body = struct.unpack(">II", done.stdout[:8])
    assert done.stdout[8 + head :] == b"the last words"
    assert body == len(b"the last words")


async def test_a_broken_pack_is_one_clean_error(start: Start, tmp_path: Path) -> None:
    channel = await start()
    (tmp_path / "bad.tar").write_bytes(b"nonsense" * 4096)
    with pytest.raises(GitInSandboxError):
        await channel.job("root", {"commit": "0" * 40}, source=tmp_path / "bad.tar")
    assert (await channel.run(sh("echo alive", tmp_path), ENV)).ok


#: Longer than any file system takes.
LONG = "x" * 300


def sandbox_of(channel: Channel, base: BaseSource) -> ChannelSandbox:
    """A sandbox over a server that is never started again."""

    async def nothing() -> None:
        return None

    async def gone() -> Channel:
        raise SandboxLost("gone")

    key = AgentKey(RunId("20261121-0231-7f3a"), "implementer", Purpose.IMPLEMENT, "T1", 1)
    mode, network = SandboxMode.WORKSPACE_WRITE, NetworkPolicy()
    return ChannelSandbox(
        facts=SandboxFacts("bare", "bare-1", "none", mode, network),
        spec=SandboxSpec(key, base, mode, network, SandboxLimits()),
        environment=ENV,
        channel=channel,
        respawn=gone,
        shut=nothing,
    )


async def test_what_the_system_refuses_names_the_file_and_not_the_hosts_disk(start: Start) -> None:
    channel = await start()

    refused = []
    with pytest.raises(OSError, match="File name too long") as raised:
        await channel.read_file(LONG, limit_bytes=9)
    refused.append(raised.value)
    with pytest.raises(OSError, match="File name too long") as raised:
        await channel.write_file(LONG, b"1", executable=None)
    refused.append(raised.value)

    assert {error.strerror for error in refused} == {f"{LONG}: File name too long"}
    assert {(error.errno, error.filename) for error in refused} == {(errno.ENAMETOOLONG, None)}
    assert channel.closed is None


async def test_a_file_the_system_refuses_is_the_models_problem_not_the_runs(start: Start, tmp_path: Path) -> None:
    sandbox = sandbox_of(await start(), base_source(_one_file(tmp_path), tmp_path / "state"))

    with pytest.raises(PatchRefused, match="File name too long"):
        await apply_patch(f"*** Begin Patch\n*** Add File: {LONG}\n+1\n*** End Patch", sandbox)
    starting: asyncio.Future[ChannelSandbox] = asyncio.get_running_loop().create_future()
    starting.set_result(sandbox)
    place = ToolContext(
        starting,  # type: ignore[arg-type]  # a future of one kind of sandbox
        SandboxMode.WORKSPACE_WRITE,
        tmp_path,
        FakeClock(),
        ToolLimits(),
        Redactor(),
    )
    with pytest.raises(ToolProblem, match=f"^{LONG} cannot be shown: {LONG}: File name too long$"):
        await ViewImage(place).call(f'{{"path": "{LONG}"}}', call_id="1")


def _one_file(tmp_path: Path) -> Path:
    make_repository(tmp_path / "repository", {"a": b"1\n"})
    return tmp_path / "repository"


async def test_work_too_large_for_the_sandboxs_disk_is_named_and_it_continues(start: Start, tmp_path: Path) -> None:
    repository = _one_file(tmp_path)
    base = base_source(repository, tmp_path / "state")
    channel = await start()
    await channel.populate(base, root=True)
    await channel.run(sh("echo 2 >b", tmp_path), ENV)
    (tmp_path / "private").rename(tmp_path / "away")
    (tmp_path / "private").write_text("no folder")
    sandbox = sandbox_of(channel, base)

    with pytest.raises(ValueError, match=f"^in the sandbox, {tmp_path}/private/?.*: Not a directory$"):
        await sandbox.snapshot(tmp_path / "work.pack")

    (tmp_path / "private").unlink()
    (tmp_path / "away").rename(tmp_path / "private")
    assert await sandbox.snapshot(tmp_path / "work.pack") is not None
