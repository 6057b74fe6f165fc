"""`diff`, `apply`, `clean` and `salvage` over real git: a run's commits in the hub, its branch in the user's repository."""

import asyncio
import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.adapters.machine.lock import RepositoryLock
from codexteam.core.effects import AdvanceBranch, IntegrateExtra, Land, Prepare, RunGate, StackCandidate, Work
from codexteam.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    BranchMoved,
    CandidateStacked,
    Event,
    FailingCommand,
    GateFinished,
    Landed,
    RunPrepared,
    RunStarted,
    Verdict,
)
from codexteam.core.ids import AgentKey, CommitId, GateName, JSONObject, Purpose, RunId, TaskId
from codexteam.core.state import Rules
from codexteam.ports.repo import Accepted, Identity, IntakePolicy, Merged
from codexteam.ports.sandbox import Snapshot
from tests.integration.views.conftest import EVIL, Cli, Project, command
from tests.support_git import git
from tests.support_packs import Edit, snapshot_of
from tests.unit.core.run_world import World, tasks

RUN = RunId("20231114-2313-bbbb")
WORKER = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
WHO = Identity("codexteam implementer", "implementer@codexteam.invalid", 1_700_000_000)
FREE = IntakePolicy(allowed=(), guarded=())


@dataclass
class Made:
    """A run with real commits."""

    base: CommitId
    work: dict[str, CommitId]
    tip: CommitId


def make_run(
    project: Project,
    folder: Path,
    edits: Sequence[tuple[str, dict[bytes, Edit]]],
    *,
    green: bool = True,
    land: bool = True,
    keep: bool = True,
    failing: tuple[FailingCommand, ...] = (),
) -> Made:
    """Put a run's work through the real adapters, and its history into the store."""
    made = asyncio.run(_make(project, folder, edits, land=land and green, keep=keep))
    names = [name for name, _ in edits]
    gates = (GateName.CI,) if failing else ()
    world = RealWorld(
        tasks(*names), rules=Rules(document=False, release=False, gates=gates), made=made, failing=failing
    )
    world.run()
    history = world.history if green else world.history[: _first(world.history, BranchMoved) + 1]
    accepted: list[tuple[str, str, JSONObject]] = [
        ("accepted", f"{name}.1", {"base": made.base, "commit": made.work[name]}) for name in names
    ]
    accepted.append(("results", "tree/bubblewrap/pytest", {"output": "3 passed"}))
    project.record(
        RUN,
        history,
        state="green" if green else "interrupted",
        rules=world.rules,
        values=accepted,
        base=made.base,
        goal="Add the thing\nand more",
    )
    return made


def _first(history: Sequence[Event], kind: type[Event]) -> int:
    return next(index for index, event in enumerate(history) if isinstance(event, kind))


@dataclass
class RealWorld(World):
    """A world in which commits are real."""

    made: Made | None = None
    failing: tuple[FailingCommand, ...] = ()

    def answer(self, effect: object) -> Event:
        assert self.made is not None
        match effect:
            case Prepare():
                return RunPrepared(self.made.base)
            case Work():
                return AttemptSucceeded(effect.task_id, effect.attempt, self.made.work[effect.task_id], "did it")
            case StackCandidate():
                self.parents[self.made.tip] = effect.onto
                return CandidateStacked(effect.task_id, effect.attempt, effect.number, self.made.tip)
            case AdvanceBranch():
                return BranchMoved(effect.commit, effect.merges)
            case RunGate():
                return GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, failing=self.failing)
            case Land():
                return Landed(f"refs/heads/codexteam/{RUN}", self.made.tip)
            case _:
                assert not isinstance(effect, IntegrateExtra)
                return World.answer(self, effect)  # type: ignore[arg-type]  # an effect of the world


async def _make(
    project: Project, folder: Path, edits: Sequence[tuple[str, dict[bytes, Edit]]], *, land: bool, keep: bool
) -> Made:
    places = locate(project.root, os.environ)
    repo = GitRepo(places, project.state, os.environ)
    base = (await repo.inspect()).head
    await repo.fetch_base(RUN, base)
    assert await repo.update_branch(RUN, base, None)
    tip, work = base, {}
    for name, changed in edits:
        snapshot = snapshot_of(folder / "packs" / name, project.state / "hub.git", base, changed)
        if keep:
            await repo.keep(RUN, f"{name}.1", snapshot)
        intake = await repo.intake(snapshot, FREE)
        assert isinstance(intake, Accepted), intake
        work[name] = await repo.commit(intake.tree, [base], f"Do {name}\n\nCodexteam-Task: {name}\n", WHO)
        merged = await repo.merge(tip, work[name], f"Do {name}", WHO)
        assert isinstance(merged, Merged)
        assert await repo.update_branch(RUN, merged.commit, tip)
        tip = merged.commit
    if land:
        await repo.land(RUN, tip)
    await repo.close()
    return Made(base, work, tip)


EDITS: list[tuple[str, dict[bytes, Edit]]] = [
    ("T1", {b"a.txt": b"one\nTWO\n", b"new.bin": b"\0\1\2" * 50}),
    ("T2", {EVIL.encode(): None, b"folder/b.txt": b"y\n"}),
]


@pytest.fixture
def run(project: Project, tmp_path: Path) -> Made:
    return make_run(project, tmp_path, EDITS)


# diff


def test_the_diff_of_a_run_is_from_its_base_to_its_tip_escaped(run: Made, cli: Cli) -> None:
    done = cli("diff")

    assert (done.code, done.err) == (0, "")
    assert "-two \\x1b[31m\n+TWO\n" in done.out
    assert "Binary files /dev/null and b/new.bin differ" in done.out
    assert "evil" in done.out
    assert not set("\x1b\x07") & set(done.out)
    assert done.out.count("diff --git") == 4


def test_the_diff_of_a_task_is_its_own_work_against_what_its_agent_saw(run: Made, cli: Cli) -> None:
    assert cli("diff", "T1").out.count("diff --git") == 2
    assert cli("diff", "t2", "--name-only").out.splitlines() == ["evil \\x1b]52;c;x\\x07.txt", "folder/b.txt"]


def test_stat_and_json_tell_files(run: Made, cli: Cli) -> None:
    assert "4 files changed" in cli("diff", "--stat").out
    records = [json.loads(line) for line in cli("diff", "--json").out.splitlines()]
    assert [record.get("status") for record in records] == ["M", "D", "M", "A", None]
    assert records[-1]["type"] == "diff.completed"
    assert (records[-1]["old"], records[-1]["new"]) == (run.base, run.tip)
    assert cli("diff", "--stat", "--name-only").code == 2


def test_a_patch_file_gives_the_very_tree(run: Made, project: Project, cli: Cli, tmp_path: Path) -> None:
    done = cli("diff", "--patch-out", "out.patch")
    assert done.code == 0
    assert "wrote out.patch" in done.err
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project.root), str(clone))
    git(clone, "apply", "--index", str(project.root / "out.patch"))
    assert git(clone, "write-tree").strip() == git(project.root, "rev-parse", f"{run.tip}^{{tree}}").strip()


def test_the_user_s_diff_tools_have_no_say(run: Made, project: Project, cli: Cli, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\ntouch {witness}\n")
    tool.chmod(0o755)
    git(project.root, "config", "diff.external", str(tool))
    git(project.root, "config", "diff.evil.textconv", str(tool))
    (project.common / "info").mkdir(exist_ok=True)
    (project.common / "info/attributes").write_text("* diff=evil\n")
    (project.state / "hub.git").rename(tmp_path / "hub")  # so that the user's repository is asked

    done = cli("diff", "--run", RUN)

    assert done.code == 0
    assert "TWO" in done.out
    assert not witness.exists()


def test_a_diff_needs_no_lock(run: Made, project: Project, cli: Cli) -> None:
    left = project.state / "hub.git" / "objects" / "pack" / "tmp_pack_x"
    left.write_bytes(b"")
    with RepositoryLock(project.state, project.common, started="now"):
        assert cli("diff", "T1").code == 0
    assert left.exists(), "what a run has open in the hub is left alone"


def test_a_pager_is_used_on_a_terminal_alone(run: Made, project: Project, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    assert command(project, "diff", GIT_PAGER=f"cat > {seen}").returncode == 0
    assert not seen.exists()
    script = ["script", "-qec", f"python -m codexteam -C {project.root} diff T1", "/dev/null"]
    import shutil
    import sys

    if shutil.which("script") is None:
        pytest.skip("there is no script(1) to make a terminal")
    script[2] = script[2].replace("python", sys.executable, 1)
    subprocess.run(
        script,
        env={**os.environ, "GIT_PAGER": f"cat > {seen}", "TERM": "xterm"},
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert "\x1b[31m-two \\x1b[31m\x1b[m\n\x1b[32m+TWO\x1b[m\n" in seen.read_text()


# apply


def test_apply_moves_a_branch_forward_and_says_so(run: Made, project: Project, cli: Cli) -> None:
    (project.root / "plan.md").write_text("# Plan\n")
    done = cli("apply")
    assert done.code == 0, done.err
    assert done.out == f"main is now at {run.tip[:10]} (fast-forward to codexteam/{RUN})\n"
    assert (project.root / "new.bin").exists()
    assert "has it already" in cli("apply").out
    assert json.loads(cli("apply", "--json").out)["already"] is True


def test_apply_names_commands_that_fail_as_they_did_before_the_run(project: Project, tmp_path: Path, cli: Cli) -> None:
    make_run(project, tmp_path, EDITS, failing=(FailingCommand("make lint", "exit 1, as before the run", True),))
    done = cli("apply", "--color", "always")
    assert done.code == 0, done.err
    assert "\x1b[33mfails: `make lint`: exit 1, as before the run\x1b[m\n" in done.err


def test_apply_merges_where_the_branch_went_on(run: Made, project: Project, cli: Cli) -> None:
    (project.root / "other.txt").write_text("mine\n")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "mine")
    done = cli("apply", RUN)
    assert done.code == 0, done.err
    assert done.out.startswith(f"merged codexteam/{RUN} into main as ")
    message = git(project.root, "log", "-1", "--format=%an%n%B").decode()
    assert message.startswith(f"A User\nMerge branch 'codexteam/{RUN}'\n\nAdd the thing and more\n")


def test_apply_to_a_dirty_tree_or_a_conflict_changes_nothing_and_exits_7(run: Made, project: Project, cli: Cli) -> None:
    (project.root / "a.txt").write_text("dirty\n")
    done = cli("apply")
    assert done.code == 7
    assert "uncommitted changes (a.txt)" in done.err
    git(project.root, "commit", "-qam", "mine")
    head = git(project.root, "rev-parse", "HEAD")
    done = cli("apply")
    assert done.code == 7
    assert "git merge" in done.err
    assert git(project.root, "rev-parse", "HEAD") == head
    assert git(project.root, "status", "--porcelain") == b""


def test_apply_of_a_run_that_is_not_over_or_goes_on_exits_7(project: Project, tmp_path: Path, cli: Cli) -> None:
    make_run(project, tmp_path, EDITS, green=False)
    done = cli("apply")
    assert done.code == 7
    assert "has put no branch into the repository" in done.err
    with RepositoryLock(project.state, project.common, started="now") as lock:
        lock.name_run(RUN)
        assert "is running" in cli("apply").err


# salvage


def test_all_work_is_listed_and_written_out(project: Project, tmp_path: Path, cli: Cli) -> None:
    made = make_run(project, tmp_path, EDITS, green=False)
    records = [json.loads(line) for line in cli("salvage", "--json").out.splitlines()]
    assert [(record["type"], record.get("name"), record.get("merged")) for record in records[:-1]] == [
        ("snapshot", "T1.1", False),
        ("snapshot", "T2.1", False),
        ("commit", "T1.1", True),
        ("commit", "T2.1", False),
        ("branch", f"codexteam/{RUN}", False),
    ]
    assert cli("salvage").out.splitlines()[0].split() == ["run", "kind", "name", "where"]

    with RepositoryLock(project.state, project.common, started="now") as lock:  # also while a run continues
        lock.name_run(RUN)
        done = cli("salvage", "--export", str(tmp_path / "out"))
    assert (done.code, done.err) == (0, "")
    folder = tmp_path / "out" / RUN
    assert sorted(path.name for path in folder.iterdir()) == [
        "T1.1.patch",
        "T1.1.snapshot.patch",
        "T2.1.patch",
        "T2.1.snapshot.patch",
        "branch.bundle",
    ]
    assert cli("salvage", "--export", str(tmp_path / "out")).code == 2, "never over what is there"

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project.root), str(clone))
    git(clone, "apply", "--check", str(folder / "T1.1.snapshot.patch"))
    git(clone, "am", "-q", str(folder / "T2.1.patch"))
    assert git(clone, "log", "-1", "--format=%an|%s").decode() == "codexteam implementer|Do T2\n"
    git(clone, "fetch", "-q", str(folder / "branch.bundle"), f"codexteam/{RUN}")
    assert git(clone, "rev-parse", "FETCH_HEAD").decode().strip() == made.tip


def test_work_of_an_attempt_that_was_cut_off_is_found_and_archived(project: Project, tmp_path: Path, cli: Cli) -> None:
    made = asyncio.run(_make(project, tmp_path, [], land=False, keep=False))
    world = RealWorld(tasks("T1"), rules=Rules(document=False, release=False, gates=()), made=made)
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(next(iter(world.state.in_flight.values()))))
    project.record(RUN, world.history, state="running", rules=world.rules, base=made.base)
    folder = project.state / "runs" / RUN / "tasks/T1/1"
    snapshot = snapshot_of(tmp_path / "packs", project.state / "hub.git", made.base, {b"half.txt": b"half\n"})
    folder.mkdir(parents=True)
    pack = folder / "turn-3.pack"
    pack.write_bytes(snapshot.pack.read_bytes())
    asyncio.run(_record_turn(project, snapshot.tip, made.base, pack))

    assert "T1.1 (unfinished)" in cli("salvage").out
    done = cli("clean", RUN)

    assert done.code == 0, done.err
    assert not pack.exists()
    archive = project.state / "archive" / f"{RUN}.tar"
    with tarfile.open(archive) as tar:
        assert any(name.endswith(".pack") for name in tar.getnames())
    assert str(archive) in cli("salvage").out
    assert project.run_state(RUN) == "cleaned"
    assert "was cleaned" in cli("resume").err


@pytest.mark.parametrize("newest_is_kept", [True, False])
def test_two_states_of_one_attempt_are_both_written_out_and_archived(
    newest_is_kept: bool, project: Project, tmp_path: Path, cli: Cli
) -> None:
    made = asyncio.run(_make(project, tmp_path, [], land=False, keep=False))
    world = RealWorld(tasks("T1"), rules=Rules(document=False, release=False, gates=()), made=made)
    world.send(RunStarted())
    while not any(isinstance(effect, Work) for effect in world.state.in_flight.values()):
        world.send(world.answer(next(iter(world.state.in_flight.values()))))
    world.send(AttemptFailed(TaskId("T1"), 1, "no answer after 20 minutes"))
    receipt: tuple[str, str, JSONObject] = ("receipts", "implementer/implement/T1/1", {})
    project.record(RUN, world.history, state="interrupted", rules=world.rules, base=made.base, values=[receipt])
    hub, folder = project.state / "hub.git", project.state / "runs" / RUN / "tasks/T1/1"
    folder.mkdir(parents=True)
    older = snapshot_of(tmp_path / "older", hub, made.base, {b"work.txt": b"older\n"})
    newest = snapshot_of(tmp_path / "newest", hub, made.base, {b"work.txt": b"older\nnewest\n"})
    # what is kept is newer where its turn was never stored, and older where the agent continued after a crash
    kept, stored = (newest, older) if newest_is_kept else (older, newest)
    asyncio.run(_keep(project, kept))
    pack = folder / "turn-3.pack"
    pack.write_bytes(stored.pack.read_bytes())
    asyncio.run(_record_turn(project, stored.tip, made.base, pack))
    (folder / "turn-4.pack").write_bytes(newest.pack.read_bytes())

    names = {str(record["name"]) for record in map(json.loads, cli("salvage", "--json").out.splitlines()[:-1])}
    done = cli("salvage", "--export", str(tmp_path / "out"))

    assert names == {"T1.1", f"T1.1-turn-3-{stored.tip[:12]}"}
    assert done.code == 0, done.err
    patches = [path.read_text() for path in (tmp_path / "out" / RUN).iterdir()]
    assert sorted("+newest" in patch for patch in patches) == [False, True]
    assert all("+older" in patch for patch in patches)

    done = cli("clean", RUN)

    assert done.code == 0, done.err
    assert not list(folder.iterdir())
    with tarfile.open(project.state / "archive" / f"{RUN}.tar") as tar:
        tar.extractall(tmp_path / "archive", filter="data")
    archived = tmp_path / "archive" / RUN / "kept"
    facts = [json.loads(path.read_text()) for path in archived.glob("*.json")]
    assert {one["tip"]: (archived / one["pack"]).read_bytes() for one in facts} == {
        older.tip: older.pack.read_bytes(),
        newest.tip: newest.pack.read_bytes(),
    }


async def _keep(project: Project, snapshot: Snapshot) -> None:
    repo = GitRepo(locate(project.root, os.environ), project.state, os.environ)
    await repo.keep(RUN, "T1.1", snapshot)
    await repo.close()


@pytest.mark.parametrize("merged", [True, False])
def test_documentation_is_left_over_only_where_it_was_not_merged(
    merged: bool, project: Project, tmp_path: Path, cli: Cli
) -> None:
    made = asyncio.run(_make(project, tmp_path, [], land=False, keep=False))
    world = World(
        tasks("T1"),
        Rules(release=False, gates=()),
        luck=lambda what, n: {"document": 1, "extra": 0 if merged else n - 1}.get(what, 0),
    )
    world.run()
    receipt: tuple[str, str, JSONObject] = ("receipts", "documentation/document//1", {})
    project.record(RUN, world.history, state="green", rules=world.rules, base=made.base, values=[receipt])
    snapshot = snapshot_of(tmp_path / "packs", project.state / "hub.git", made.base, {b"README.md": b"more\n"})
    writer = AgentKey(RUN, "documentation", Purpose.DOCUMENT, "", 1)
    asyncio.run(_record_turn(project, snapshot.tip, made.base, snapshot.pack, writer))

    rows = [line.split() for line in cli("salvage").out.splitlines()]

    left = [row for row in rows if row[1:3] == ["snapshot", "document.1"]]
    assert len(left) == (0 if merged else 1)
    assert "unfinished" not in str(rows)


async def _record_turn(
    project: Project,
    tip: str,
    base: CommitId,
    pack: Path,
    agent: AgentKey = WORKER,
) -> None:
    from codexteam.ports.sandbox import WorkspaceState
    from codexteam.ports.store import StoredTurn

    store = project.store()
    await store.record_turn(StoredTurn(agent, 3, (), WorkspaceState(Snapshot(tip, base, pack, pack.stat().st_size))))
    await store.close()


# clean


def test_a_dry_run_names_what_would_go_and_removes_nothing(run: Made, project: Project, cli: Cli) -> None:
    base = project.state / "runs" / RUN / "base"
    base.mkdir()
    done = cli("clean", "--dry-run", "-c", "codexteam.sandbox.kind='bubblewrap'")
    assert done.code == 0
    assert "would remove 2 kept snapshots, archived first" in done.out
    assert f"would leave branch codexteam/{RUN} at {run.tip[:10]}: no other branch has its commits; " in done.out
    git(project.root, "branch", "theirs", run.tip)
    assert f"would remove branch codexteam/{RUN} at {run.tip[:10]}; " in cli("clean", "--dry-run").out
    assert "would remove 1 folder of bases\n" in done.out
    assert [line.partition(":")[0] for line in done.out.splitlines()] == [RUN, "all"], "a line per run"
    assert f'"what":"{base}"' in cli("clean", "--dry-run", "--json").out
    assert base.exists()
    assert git(project.state / "hub.git", "for-each-ref") != b""


def test_clean_takes_green_runs_away_and_keeps_the_user_s_only_branch(run: Made, project: Project, cli: Cli) -> None:
    done = cli("clean")
    assert done.code == 0, done.err
    assert f"left branch codexteam/{RUN}: no other branch has its commits" in done.out
    assert git(project.root, "rev-parse", f"codexteam/{RUN}").decode().strip() == run.tip
    assert git(project.state / "hub.git", "for-each-ref") == b""
    assert project.run_state(RUN) == "green"
    assert cli("diff").out.count("diff --git") == 4, "the branch is still there"
    assert cli("apply").code == 0
    assert "next    codexteam apply\n" in cli("status").out
    assert f"removed branch codexteam/{RUN}" in cli("clean").out
    gone = cli("status").out
    assert "next" not in gone, "the branch is gone"
    assert "\nbranch  " not in gone
    assert "codexteam" not in git(project.root, "branch", "-a").decode()
    assert not (project.state / "hub.git").exists() or cli("clean", "--all").code == 0


def test_clean_takes_away_what_commands_returned(run: Made, project: Project, cli: Cli) -> None:
    assert "would remove what 1 command returned" in cli("clean", "--dry-run").out
    assert "removed what 1 command returned" in cli("clean").out
    assert "returned" not in cli("clean").out


def test_clean_leaves_alone_what_can_be_resumed_unless_it_is_named(project: Project, tmp_path: Path, cli: Cli) -> None:
    make_run(project, tmp_path, EDITS, green=False)
    assert cli("clean").out == ""
    assert git(project.state / "hub.git", "for-each-ref") != b""
    done = cli("clean", "--all")
    assert "cannot be resumed any more" in done.out
    assert "removed the hub" in done.out
    assert cli("runs").out.splitlines()[1].split()[1] == "cleaned"
    shown = cli("status").out
    assert "reason  cleaned: it cannot be resumed; codexteam salvage lists what is left of its work\n" in shown
    assert "next" not in shown
    assert "was cleaned before it put a branch" in cli("apply").err
    assert [line.split()[1] for line in cli("salvage").out.splitlines()[1:]] == ["archive"], (
        "what is gone is not listed"
    )
    again = cli("clean", "--all")
    assert (again.code, again.out) == (0, "")


def test_clean_never_touches_a_run_that_goes_on(run: Made, project: Project, cli: Cli) -> None:
    with RepositoryLock(project.state, project.common, started="now") as lock:
        lock.name_run(RUN)
        done = cli("clean", "--all")
        assert done.code == 6
        assert "another codexteam process works on this repository" in done.err
        assert "it is running" in cli("clean", "--dry-run").out
    assert git(project.state / "hub.git", "for-each-ref") != b""


def test_clean_where_nothing_ever_ran_has_nothing_to_do(project: Project, cli: Cli) -> None:
    assert (cli("clean").code, cli("clean").err) == (0, "nothing to clean\n")
    assert not project.state.exists()
