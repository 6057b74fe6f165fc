"""What every sandbox does: the real ones and the fake."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codexteam.config.settings import KubernetesSettings, NetworkPolicy, SandboxLimits, SandboxMode, SandboxSettings
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.errors import SandboxLost
from codexteam.ports.sandbox import WORKSPACE, BaseSource, Command, Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import SandboxEngine
from tests.support_base_source import base_source, commit_all, make_repository, unpack_snapshot
from tests.support_kubernetes import StandInCluster, stand_in_cluster

#: Made by `.ci/sandbox_image.py`.
SANDBOX_IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")

FILES: dict[str | bytes, bytes | str] = {
    "a.txt": b"one\n",
    "b.txt": b"two\n",
    "folder/c.txt": b"three\n",
    "folder/run.sh": b"#!/bin/sh\necho ran\n",
    ".gitignore": b"ignored\n*.log\n",
    "link": "a.txt",
    b"not-\xff-utf8": b"bytes\n",
}


@dataclass
class Bench:
    """An engine with a repository, and what it started."""

    engine: SandboxEngine
    repository: Path
    base: BaseSource
    folder: Path
    real: bool
    started: list[Sandbox]

    async def start(self, mode: SandboxMode = SandboxMode.WORKSPACE_WRITE, **more: object) -> Sandbox:
        agent = AgentKey(
            RunId(f"contract-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", len(self.started) + 1
        )
        spec = SandboxSpec(agent, self.base, mode, NetworkPolicy(), SandboxLimits(memory_bytes=1 << 30))
        sandbox = await self.engine.start(replace(spec, **more))  # type: ignore[arg-type]  # as given
        self.started.append(sandbox)
        return sandbox


Make = Callable[[Path], Awaitable[SandboxEngine]]


async def _bubblewrap(folder: Path) -> SandboxEngine:
    from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine(folder)


async def _docker(folder: Path) -> SandboxEngine:
    from codexteam.adapters.sandbox.docker.engine import DockerEngine

    settings = SandboxSettings(image=SANDBOX_IMAGE)
    return DockerEngine(settings, environment=os.environ, owner=str(folder), state_dir=folder)


async def _fake(folder: Path) -> SandboxEngine:
    from tests.fakes.fake_sandbox import FakeEngine

    return FakeEngine({name: data for name, data in FILES.items() if isinstance(name, str)})


async def _kubernetes(folder: Path) -> SandboxEngine:
    from codexteam.adapters.sandbox.kubernetes.engine import KubernetesEngine

    config = os.environ.get(_REAL_CLUSTER) or str(_CLUSTERS[-1].kubeconfig())
    settings = SandboxSettings(kind="kubernetes", kubernetes=KubernetesSettings(slots=64, start_seconds=60))
    environment = {**os.environ, "KUBECONFIG": config}
    return KubernetesEngine(settings, environment=environment, owner=str(folder), now=lambda: datetime.now(UTC))


#: Names a kubeconfig for a cluster with the resources of `deploy/kubernetes`: it is used in place of a stand-in.
_REAL_CLUSTER = "CODEXTEAM_TEST_KUBECONFIG"
_CLUSTERS: list[StandInCluster] = []
"""The one that the test has."""

ENGINES = [
    pytest.param(_fake, id="fake"),
    pytest.param(_bubblewrap, id="bubblewrap", marks=pytest.mark.bubblewrap),
    pytest.param(_docker, id="docker", marks=pytest.mark.docker),
    pytest.param(_kubernetes, id="kubernetes", marks=[pytest.mark.docker, pytest.mark.complete]),
]
REAL = ENGINES[1:]


async def _bench(make: Make, tmp_path: Path, *, real: bool) -> AsyncIterator[Bench]:
    repository = tmp_path / "user" / "repository"
    make_repository(repository, FILES)
    base = base_source(repository, tmp_path / "state" / "base")
    async with AsyncExitStack() as stack:
        if make is _kubernetes and not os.environ.get(_REAL_CLUSTER):
            _CLUSTERS.append(await stack.enter_async_context(stand_in_cluster()))
            stack.callback(_CLUSTERS.pop)
        async for bench in _started(make, repository, base, tmp_path, real=real):
            yield bench


async def _started(
    make: Make, repository: Path, base: BaseSource, tmp_path: Path, *, real: bool
) -> AsyncIterator[Bench]:
    engine = await make(tmp_path / "state" / "engine")
    bench = Bench(engine, repository, base, tmp_path, real=real, started=[])
    try:
        await engine.prepare(base)
        yield bench
    finally:
        for sandbox in bench.started:
            await sandbox.close()
        if real:
            await engine.sweep(None)
        await engine.close()


@pytest.fixture(params=ENGINES)
async def any_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Every engine: what the fake keeps to as well."""
    async for bench in _bench(request.param, tmp_path, real=request.param is not _fake):
        yield bench


@pytest.fixture(params=REAL)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """The engines that really run commands."""
    async for bench in _bench(request.param, tmp_path, real=True):
        yield bench


def sh(line: str, **more: object) -> Command:
    return Command(("bash", "-c", line), **more)  # type: ignore[arg-type]  # as given


# Both the real ones and the fake


async def test_an_engine_that_works_says_so(any_bench: Bench) -> None:
    report = await any_bench.engine.check()
    assert report.usable
    assert report.name == any_bench.engine.name
    assert not report.problem


async def test_a_workspace_shows_the_base(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    assert await sandbox.read_file("a.txt", limit_bytes=100) == b"one\n"
    assert await sandbox.read_file(f"{WORKSPACE}/folder/c.txt", limit_bytes=100) == b"three\n"
    assert await sandbox.read_file("none", limit_bytes=100) is None
    assert await sandbox.read_file("link", limit_bytes=100) == b"one\n"


async def test_what_is_written_is_read(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    await sandbox.write_file("new/deep/file", b"\x00\xff")
    assert await sandbox.read_file("new/deep/file", limit_bytes=2) == b"\x00\xff"
    await sandbox.write_file("a.txt", None)
    assert await sandbox.read_file("a.txt", limit_bytes=100) is None


async def test_paths_outside_are_refused(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    for path in ("../x", "/etc/passwd", "folder/../../x"):
        with pytest.raises(ValueError, match="outside"):
            await sandbox.read_file(path, limit_bytes=100)
        with pytest.raises(ValueError, match="outside"):
            await sandbox.write_file(path, b"x")


async def test_a_folder_is_no_file_and_a_limit_is_a_limit(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    with pytest.raises(ValueError, match="regular"):
        await sandbox.read_file("folder", limit_bytes=100)
    with pytest.raises(ValueError, match="folder"):
        await sandbox.write_file("folder", b"x")
    with pytest.raises(ValueError, match="more than"):
        await sandbox.read_file("a.txt", limit_bytes=3)


async def test_a_file_that_cannot_be_read_is_refused_as_one_that_is_none(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    with pytest.raises(ValueError, match="File name too long"):
        await sandbox.read_file("x" * 300, limit_bytes=100)


async def test_a_read_only_sandbox_is_not_written(any_bench: Bench) -> None:
    sandbox = await any_bench.start(SandboxMode.READ_ONLY)
    with pytest.raises(PermissionError):
        await sandbox.write_file("a.txt", b"x")
    assert await sandbox.read_file("a.txt", limit_bytes=100) == b"one\n"
    assert await sandbox.snapshot(any_bench.folder / "none.pack") is None


async def test_without_a_change_there_is_no_snapshot(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    assert await sandbox.snapshot(any_bench.folder / "none.pack") is None
    await sandbox.write_file("a.txt", b"one\n")
    assert await sandbox.snapshot(any_bench.folder / "none.pack") is None


async def test_a_snapshot_gives_the_same_workspace_again(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    await sandbox.write_file("new.txt", b"new\n", executable=True)
    await sandbox.write_file("b.txt", None)
    await sandbox.write_file("a.txt", b"changed\n")
    shot = await sandbox.snapshot(any_bench.folder / "work.pack")
    assert shot is not None
    assert shot.pack.stat().st_size == shot.pack_bytes
    again = await any_bench.start(restore=shot)
    assert await again.read_file("new.txt", limit_bytes=100) == b"new\n"
    assert await again.read_file("b.txt", limit_bytes=100) is None
    assert await again.read_file("a.txt", limit_bytes=100) == b"changed\n"
    repeated = await again.snapshot(any_bench.folder / "again.pack")
    assert repeated is not None
    assert repeated.tip == shot.tip


_RENAMES = """
import os
os.rename("folder", "moved")
os.rename("moved", "folder")
os.mkdir("empty")
os.rename("folder", "empty")
os.mkdir("folder")
open("folder/run.sh", "w").write("another\\n")
os.renames("empty", "deep/er")
"""


async def test_a_folder_of_the_base_is_renamed_as_on_any_file_system(bench: Bench) -> None:
    sandbox = await bench.start()
    done = await sandbox.run(Command(("python3", "-c", _RENAMES)))
    assert done.ok, done.output
    moved = await sandbox.run(sh("git add -A && git mv deep git-moved && ls git-moved/er && cat folder/run.sh"))
    assert moved.output == b"c.txt\nrun.sh\nanother\n", moved.output
    shot = await sandbox.snapshot(bench.folder / "work.pack")
    assert shot is not None
    again = await bench.start(restore=shot)
    listed = await again.run(sh("ls; ls folder; cat git-moved/er/run.sh"))
    assert b"\ngit-moved\n" in listed.output, listed.output
    assert listed.output.endswith(b"\nrun.sh\n#!/bin/sh\necho ran\n"), listed.output


async def test_closing_may_be_repeated_and_then_it_is_lost(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    await sandbox.close()
    await sandbox.close()
    with pytest.raises(SandboxLost):
        await sandbox.run(Command(("true",)))


async def test_two_workspaces_do_not_see_each_other(any_bench: Bench) -> None:
    one, other = await any_bench.start(), await any_bench.start()
    await one.write_file("mine", b"x")
    assert await other.read_file("mine", limit_bytes=10) is None


async def test_facts_say_what_it_is(any_bench: Bench) -> None:
    sandbox = await any_bench.start()
    assert sandbox.facts.engine == any_bench.engine.name
    assert sandbox.facts.mode is SandboxMode.WORKSPACE_WRITE
    assert sandbox.facts.name


async def test_a_sweep_with_nothing_left_removes_nothing(any_bench: Bench) -> None:
    assert await any_bench.engine.sweep("no-such-run") == []


# Commands, in the real ones


async def test_output_and_exit_code_come_back(bench: Bench) -> None:
    sandbox = await bench.start()
    result = await sandbox.run(sh("pwd; id -u; exit 7"))
    assert result.exit_code == 7
    assert result.output.split()[0] == WORKSPACE.encode()
    assert int(result.output.split()[1]) != 0
    assert (await sandbox.run(sh("./folder/run.sh || sh folder/run.sh"))).output.endswith(b"ran\n")


async def test_signals_deadlines_and_exit_codes_are_told_apart(bench: Bench) -> None:
    sandbox = await bench.start()
    killed = await sandbox.run(sh("kill -SEGV $$"))
    assert (killed.exit_code, killed.signal, killed.timed_out) == (None, 11, False)
    late = await sandbox.run(sh("trap '' TERM INT; sleep 1000", timeout_seconds=0.3))
    assert (late.exit_code, late.timed_out) == (None, True)
    assert (await sandbox.run(Command(("no-such-program",)))).exit_code == 127


async def test_a_deadline_kills_the_whole_tree(bench: Bench) -> None:
    sandbox = await bench.start()
    line = "env -i setsid -f sleep 987; (setsid sleep 987 &); sleep 987 & (trap '' TERM; sleep 987) & wait"
    assert (await sandbox.run(sh(line, timeout_seconds=0.5))).timed_out
    async with asyncio.timeout(30):  # what was killed is gone when it is next given a processor
        while b"sleep 987" in (await sandbox.run(sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))).output:
            pass


async def test_what_a_command_leaves_is_ended_and_said(bench: Bench) -> None:
    sandbox = await bench.start()
    result = await sandbox.run(sh("setsid -f sleep 986; sleep 986 & echo done"))
    assert result.output == b"done\n"
    assert result.ok
    assert "left running" in result.note


async def test_long_output_keeps_head_and_tail(bench: Bench) -> None:
    sandbox = await bench.start()
    result = await sandbox.run(sh("echo first; seq 200000; echo last", output_limit_bytes=8192))
    assert result.output.startswith(b"first\n1\n")
    assert result.output.endswith(b"200000\nlast\n")
    assert len(result.output) <= 8192
    assert result.output_bytes > 1_000_000


async def test_endless_output_is_stopped(bench: Bench) -> None:
    sandbox = await bench.start(limits=SandboxLimits(memory_bytes=1 << 30, output_bytes=1 << 20))
    for line in ("yes", "tr '\\0' x </dev/zero"):
        result = await sandbox.run(sh(line))
        assert result.killed_for_output
        assert not result.ok


async def test_stdin_and_environment_reach_a_command(bench: Bench) -> None:
    sandbox = await bench.start(environment={"GIVEN": "by the run"})
    command = sh('cat; echo "$GIVEN $MORE $PATH_X"', stdin=b"in\n", environment={"MORE": "by the command"})
    assert (await sandbox.run(command)).output == b"in\nby the run by the command \n"


async def test_output_is_seen_as_it_comes(bench: Bench) -> None:
    sandbox = await bench.start()
    seen: list[bytes] = []
    result = await sandbox.run(sh("echo one; echo two >&2"), on_output=seen.append)
    assert b"".join(seen) == result.output


async def test_commands_run_at_once(bench: Bench) -> None:
    sandbox = await bench.start()
    lines = [f"touch at-{n}; while [ $(ls at-* | wc -l) -lt 6 ]; do :; done" for n in range(6)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(sandbox.run(sh(line)) for line in lines))
    assert all(result.ok for result in results)


async def test_cancelling_a_command_kills_it(bench: Bench) -> None:
    sandbox = await bench.start()
    up = asyncio.Event()
    task = asyncio.create_task(sandbox.run(sh("echo up; sleep 985 & wait"), on_output=lambda _: up.set()))
    await up.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while b"sleep\0985" in (await sandbox.run(sh("cat /proc/[0-9]*/cmdline"))).output:
            pass


async def test_a_session_outlives_the_call(bench: Bench) -> None:
    sandbox = await bench.start()
    session = await sandbox.open(sh("while read x; do echo got $x; done; echo end; exit 4", tty=True))
    await session.write(b"a\n")
    said = b""
    async with asyncio.timeout(20):
        while b"got a" not in said:
            said += (await session.read(wait_seconds=0.05)).output
        assert (await sandbox.run(Command(("true",)))).ok
        await session.write(b"b\n")
        while b"got b" not in said:
            said += (await session.read(wait_seconds=0.05)).output
    await session.kill()
    ended = await session.read(wait_seconds=10)
    assert ended.result is not None
    assert ended.result.signal == 9


@pytest.mark.parametrize(
    "line", ["cat; echo eof", "read x; cat - /dev/stdin; echo eof", "python3 -c 'input()'; echo eof"]
)
async def test_a_command_without_a_terminal_reads_the_end_of_its_input_at_once(bench: Bench, line: str) -> None:
    sandbox = await bench.start()
    session = await sandbox.open(sh(line))
    await session.write(b"never read\n")
    seen = await session.read(wait_seconds=20)
    assert seen.result is not None
    assert seen.result.exit_code == 0
    assert seen.output.endswith(b"eof\n")
    assert b"never read" not in seen.output
    assert (await sandbox.run(sh(line))).output.endswith(b"eof\n")


async def test_a_session_with_a_terminal_obeys_control_c(bench: Bench) -> None:
    sandbox = await bench.start()
    line = "trap 'echo caught; exit 3' INT; tty; while :; do read -t 1 x; done"
    session = await sandbox.open(sh(line, tty=True))
    said = b""
    async with asyncio.timeout(20):
        while b"/dev/pts" not in said:
            said += (await session.read(wait_seconds=0.05)).output
        await session.write(b"\x03")
        while (last := await session.read(wait_seconds=0.2)).result is None:
            said += last.output
    assert b"caught" in said + last.output
    assert last.result.exit_code == 3


async def test_folders_that_are_repositories_are_at_their_own_place_too(bench: Bench) -> None:
    for mode in (SandboxMode.WORKSPACE_WRITE, SandboxMode.READ_ONLY):
        sandbox = await bench.start(mode, repositories=True)
        assert (await sandbox.run(sh("cd /repos/folder && touch /repos/new"))).exit_code == 1
        assert (await sandbox.run(sh("cat /repos/a.txt"))).output == b"one\n"
    writable = bench.started[0]
    await writable.run(sh("echo changed > folder/c.txt && touch folder/new"))
    assert (
        await writable.run(sh("cat /repos/folder/c.txt && ls /repos/folder"))
    ).output == b"changed\nc.txt\nnew\nrun.sh\n"
    if bench.engine.name != "kubernetes":  # a pod's mounts are its template's
        assert (await (await bench.start()).run(sh("ls -d /repos"))).exit_code == 2


async def test_killing_everything_inside_loses_no_files(bench: Bench) -> None:
    sandbox = await bench.start()
    other = asyncio.create_task(sandbox.run(sh("sleep 984")))
    await sandbox.run(sh("until grep -qs '[9]84' /proc/[0-9]*/cmdline; do :; done; echo kept >kept; kill -9 -1"))
    assert not (await other).ok
    after = await sandbox.run(sh("cat kept"))
    assert after.output == b"kept\n"


# Links, modes and names, in the real ones


async def test_links_are_followed_inside_only(bench: Bench) -> None:
    sandbox = await bench.start()
    await sandbox.run(
        sh("ln -s /etc away; ln -s ../../etc/passwd up; ln -s b.txt inside; ln -s self self; mkfifo fifo")
    )
    assert await sandbox.read_file("inside", limit_bytes=100) == b"two\n"
    for path in ("away/passwd", "up"):
        with pytest.raises(ValueError, match="outside"):
            await sandbox.read_file(path, limit_bytes=10_000)
        with pytest.raises(ValueError, match="outside"):
            await sandbox.write_file(path, b"x")
    for path in ("fifo", "self"):
        with pytest.raises(ValueError, match="regular"):
            await sandbox.read_file(path, limit_bytes=100)
    await sandbox.write_file("inside", b"through\n")
    assert (await sandbox.run(sh("readlink inside; cat b.txt"))).output == b"b.txt\nthrough\n"


async def test_modes_are_kept_or_set(bench: Bench) -> None:
    sandbox = await bench.start()
    await sandbox.run(sh("chmod 750 folder/run.sh"))
    await sandbox.write_file("folder/run.sh", b"#!/bin/sh\necho again\n")
    await sandbox.write_file("a.txt", b"#!/bin/sh\n", executable=True)
    await sandbox.write_file("b.txt", b"x", executable=False)
    stat = await sandbox.run(sh("stat -c %a folder/run.sh a.txt b.txt; ./folder/run.sh"))
    assert stat.output == b"750\n755\n644\nagain\n"


async def test_a_read_only_workspace_has_room_in_tmp(bench: Bench) -> None:
    sandbox = await bench.start(SandboxMode.READ_ONLY)
    result = await sandbox.run(
        sh("echo x >a.txt; echo x >new; rm b.txt; echo fine >/tmp/x && cat /tmp/x; git status --short")
    )
    assert result.output.endswith(b"fine\n")
    assert b"Read-only" in result.output
    assert await sandbox.read_file("b.txt", limit_bytes=10) == b"two\n"


async def test_read_only_shows_restored_work(bench: Bench) -> None:
    writer = await bench.start()
    await writer.write_file("a.txt", b"changed\n")
    shot = await writer.snapshot(bench.folder / "work.pack")
    reader = await bench.start(SandboxMode.READ_ONLY, restore=shot)
    assert await reader.read_file("a.txt", limit_bytes=100) == b"changed\n"
    assert (await reader.run(sh("touch x"))).exit_code == 1


async def test_a_fresh_workspace_is_clean_to_git(bench: Bench) -> None:
    sandbox = await bench.start()
    result = await sandbox.run(sh("git status --porcelain && git log -1 --format=%s && git commit --allow-empty -qm x"))
    assert result.output == b"first\n"


async def test_every_kind_of_change_is_in_the_snapshot(bench: Bench) -> None:
    sandbox = await bench.start()
    line = (
        "echo more >>a.txt; rm b.txt; mv folder/c.txt moved; ln -sf moved link; chmod +x folder/run.sh; "
        "head -c 300000 /dev/zero | tr '\\0' '\\377' >blob; echo x >$'other-\\xfe'; echo x >$'line\\nbreak'; "
        "echo no >ignored; echo no >x.log; mkdir -p p/q; echo x >p/q/r; rm -r .git/refs; echo x >.git/index.lock"
    )
    assert (await sandbox.run(sh(line))).output == b""
    shot = await sandbox.snapshot(bench.folder / "work.pack")
    assert shot is not None
    found = unpack_snapshot(bench.repository, shot.pack, shot.tip)
    names = {b"a.txt", b"moved", b"link", b"folder/run.sh", b"blob", b"other-\xfe", b"line\nbreak", b"p/q/r"}
    assert set(found) == names | {b".gitignore", b"not-\xff-utf8"}
    assert found[b"folder/run.sh"][0] == "100755"
    assert found[b"link"] == ("120000", b"moved")
    assert found[b"blob"][1] == b"\xff" * 300000
    again = await bench.start(restore=shot)
    listed = await again.run(sh("cat moved link; test -x folder/run.sh && ls -A | wc -l; ls p/q"))
    assert listed.output == b"three\nthree\n12\nr\n"


async def test_files_that_changed_places_are_in_the_snapshot(bench: Bench) -> None:
    (bench.repository / "one").write_bytes(b"1\n")
    (bench.repository / "two").write_bytes(b"2\n")
    tip = commit_all(bench.repository, "two alike")
    base = base_source(bench.repository, bench.folder / "more", root=bench.base.commit, commit=tip)
    for source in (base, bench.base):
        sandbox = await bench.start(base=source)
        assert (await sandbox.run(sh("git diff-files --name-only"))).output == b"", "the index is of this checkout"
        swapped = "one two" if source is base else "a.txt b.txt"
        line = f"set {swapped}; touch -r $1 time; mv $1 x; mv $2 $1; mv x $2; touch -r time $1 $2; rm time"
        assert (await sandbox.run(sh(line))).output == b""
        shot = await sandbox.snapshot(bench.folder / "work.pack")
        assert shot is not None
        found = unpack_snapshot(bench.repository, shot.pack, shot.tip)
        first, second = (name.encode() for name in swapped.split())
        contents = {b"one": b"1\n", b"two": b"2\n", b"a.txt": b"one\n", b"b.txt": b"two\n"}
        assert (found[first][1], found[second][1]) == (contents[second], contents[first])


async def test_a_full_disk_of_ours_fails_the_snapshot_and_loses_nothing(bench: Bench) -> None:
    sandbox = await bench.start()
    session = await sandbox.open(sh("read x; echo still here", tty=True))
    await sandbox.run(sh("head -c 300K /dev/urandom >big"))
    (bench.folder / "work.pack.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        await sandbox.snapshot(bench.folder / "work.pack")
    assert not (bench.folder / "work.pack.part").is_symlink()
    assert (await session.read(wait_seconds=0)).result is None
    assert (await sandbox.run(sh("wc -c <big"))).output == b"307200\n"
    taken = await sandbox.snapshot(bench.folder / "work.pack")
    assert taken is not None
    await session.write(b"\n")
    assert (await session.read(wait_seconds=20)).output.endswith(b"still here\r\n")


async def test_a_snapshot_leaves_the_agents_index_and_branches_alone(bench: Bench) -> None:
    sandbox = await bench.start()
    await sandbox.run(sh("git checkout -qb mine; touch new other; git add new; git commit -qm mine; git add other"))
    look = sh("git rev-parse HEAD; git branch; git status --short; md5sum .git/index")
    before = await sandbox.run(look)
    assert await sandbox.snapshot(bench.folder / "work.pack") is not None
    assert (await sandbox.run(look)).output == before.output


async def test_a_later_commit_and_extra_files_are_shown_and_not_taken(bench: Bench) -> None:
    (bench.repository / "a.txt").write_bytes(b"later\n")
    (bench.repository / "b.txt").unlink()
    tip = commit_all(bench.repository, "second")
    extra = {"settings.log": b"ignored", "folder/c.txt": b"from elsewhere\n"}
    base = base_source(bench.repository, bench.folder / "more", root=bench.base.commit, commit=tip, extra=extra)
    for mode in (SandboxMode.WORKSPACE_WRITE, SandboxMode.READ_ONLY):
        sandbox = await bench.start(mode, base=base)
        shown = await sandbox.run(sh("cat a.txt settings.log folder/c.txt; ls b.txt; git status --short"))
        assert shown.output.startswith(b"later\nignoredfrom elsewhere\n")
        assert b" a.txt" not in shown.output
        assert await sandbox.snapshot(bench.folder / "none.pack") is None
