"""Two commands at once on one repository: the second says so and changes nothing, from wherever it is started."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.world import Ended, World, fingerprint
from tests.faults import three_tasks, twelve_tasks
from tests.faults.invariants import Evidence, violations
from tests.faults.killing import HeldBack, expected_tree, machine

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def _meanwhile(world: World, held: HeldBack, lines: int, act: Callable[[], None]) -> tuple[int, str]:
    """Run to the end, and do something after so many events; the run is at work until it is done.

    Its output is read all the while: a run whose pipe is full waits for its reader, and gives no sign of life.
    """

    def act_and_let_end() -> None:
        try:
            act()
        finally:
            held.may_end.set()

    with world.start("run", twelve_tasks.GOAL, "--json") as process, ThreadPoolExecutor(1) as beside:
        acting: list[Future[None]] = []
        try:
            assert process.stdout is not None
            for number, _ in enumerate(process.stdout, start=1):
                if number == lines:
                    acting.append(beside.submit(act_and_let_end))
            _, err = process.communicate(timeout=300)
        finally:
            held.may_end.set()
            process.kill()
    for each in acting:
        each.result()
    return process.returncode, err


def test_a_second_command_on_the_repository_says_that_another_is_running(tmp_path: Path) -> None:
    held = HeldBack()
    with machine(tmp_path, held) as (world, api):
        linked, seen_as = world.folder / "linked", world.folder / "seen-as"
        world.git("worktree", "add", "-q", "--detach", str(linked))
        seen_as.symlink_to(world.repository)
        before, tree = fingerprint(world), expected_tree(world)
        refused: dict[str, Ended] = {}
        looked: dict[str, Ended] = {}

        def act() -> None:
            run_id = world.run_folder.name
            everywhere = [(place, ("run", "another goal")) for place in (world.repository, linked, seen_as)]
            here = [(world.repository, words) for words in (("resume",), ("plan", "another goal"))]
            for place, words in (*everywhere, *here, (linked, ("clean", "--all"))):
                refused[f"{words[0]} in {place.name}"] = world.run("-C", str(place), *words)
            refused["clean"] = world.run("clean")
            refused["clean RUN"] = world.run("clean", run_id)
            looked["apply"] = world.run("apply")
            for line in ("status", "runs", "logs", "inbox", "salvage", "clean --dry-run --all"):
                looked[line] = world.run("-C", str(linked), *line.split())

        code, err = _meanwhile(world, held, 40, act)
        assert code == 0, err
        for name, ended in refused.items():
            assert ended.code == 6, (name, ended)
            assert "another codexteam process works on this repository (process " in ended.err, name
            assert "hint: Wait for it, or end it with `codexteam stop`." in ended.err, name
        apply = looked.pop("apply")
        assert (apply.code, "is running" in apply.err) == (7, True), apply
        for name, ended in looked.items():
            assert ended.code == 0, (name, ended)
        assert "running" in looked["status"].out.splitlines()[0]
        assert "nothing: it is running" in looked["clean --dry-run --all"].out
        evidence = Evidence(world, before, api.requests, expected_tree=tree)
        assert violations(evidence) == []

        # the run is over: the others may
        assert world.run("clean", "--dry-run").code == 0
        assert world.run("-C", str(linked), "apply").code == 0
        assert (linked / "out" / "t11.txt").read_text() == "task 11\n"


def test_of_two_runs_that_are_started_in_the_same_moment_one_works(tmp_path: Path) -> None:
    with machine(tmp_path, three_tasks.play, settings=three_tasks.SETTINGS.format(kind="bubblewrap")) as (world, _):
        tree = expected_tree(world, three_tasks.EXPECTED)
        both = [world.start("run", three_tasks.GOAL) for _ in range(2)]
        try:
            ended = [(*process.communicate(timeout=300), process.returncode) for process in both]
        finally:
            for process in both:
                process.kill()
        assert sorted(code for *_, code in ended) == [0, 6], ended
        [loser] = [err for _, err, code in ended if code == 6]
        assert "another codexteam process works on this repository" in loser
        assert len(world.run("runs", "--json").lines) == 2, "one run, and the end of the list"
        assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree


def test_a_killed_run_is_not_shown_as_running_while_it_is_cleaned(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, _):
        with world.start_near("run", twelve_tasks.GOAL, "--json") as process:
            assert process.stdout is not None
            for number, _ in enumerate(process.stdout, start=1):
                if number == 30:
                    break
            process.kill()
        lock = next(world.state.glob("lock-*"))
        # what `clean` is while it works: it has the lock and names no run
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from codexteam.adapters.machine.lock import RepositoryLock\n"
            "with RepositoryLock(Path(sys.argv[1]), Path(sys.argv[2]), started='now'):\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(lock.parent), str(world.repository / ".git")],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert world.run("runs").out.splitlines()[1].split()[1] == "interrupted"
            holder.communicate()
