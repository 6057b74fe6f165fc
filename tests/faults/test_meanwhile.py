"""What a user does to the repository while a run is at work: the run ends as it would, or stops in one clear error."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.world import World
from tests.faults import three_tasks
from tests.faults.killing import HeldBack, expected_tree, machine
from tests.faults.table import LONG

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]


def _user_git(world: World, *arguments: str) -> None:
    world.git("-c", "core.hooksPath=/dev/null", *arguments)


def _commits(world: World) -> None:
    _user_git(world, "commit", "-qam", "meanwhile")


def _switches(world: World) -> None:
    _user_git(world, "checkout", "-q", "-b", "elsewhere")


def _rebases(world: World) -> None:
    _user_git(world, "stash", "-u")
    _user_git(world, "checkout", "-q", "--orphan", "rewritten")
    _user_git(world, "commit", "-qm", "another history")
    _user_git(world, "branch", "-f", "main", "HEAD")
    _user_git(world, "reflog", "expire", "--expire=now", "--all")


def _cleans(world: World) -> None:
    _user_git(world, "clean", "-fdxq")


def _collects(world: World) -> None:
    _user_git(world, "gc", "-q", "--prune=now")


def _edits_plan(world: World) -> None:
    plan = world.repository / "plan.md"
    plan.write_text(plan.read_text().replace("## Later\n", "My own words.\n\n## Later\n"))


def _breaks_plan(world: World) -> None:
    (world.repository / "plan.md").write_text(
        f"<!-- codexteam run {world.run_folder.name} -->\n## Tasks\n- [?] **T1**\n"
    )


def _removes_plan(world: World) -> None:
    (world.repository / "plan.md").unlink(missing_ok=True)


def _deletes_state(world: World) -> None:
    # what is at work there writes on: a folder may be filled again while it is being emptied
    for _ in range(100):
        try:
            shutil.rmtree(world.state)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    raise AssertionError("the state folder could not be deleted")


_SETTINGS = three_tasks.SETTINGS.format(kind="bubblewrap")


def _held() -> HeldBack:
    """The last task waits until the user has done what they do."""
    return HeldBack(three_tasks.play, "T7")


def _run_and_meddle(world: World, held: HeldBack, meddle: Callable[[World], None], kind: str) -> tuple[int, str]:
    """Run, and do something once the first event of a kind is shown."""
    with world.start("run", three_tasks.GOAL, "--json") as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if f'"{kind}"' in line and not held.may_end.is_set():
                    meddle(world)
                    held.may_end.set()
            _, err = process.communicate(timeout=300)
        finally:
            held.may_end.set()
            process.kill()
    return process.returncode, err


@pytest.mark.parametrize(
    "meddle",
    [
        *(_rebases, _edits_plan, _breaks_plan),
        *(pytest.param(one, marks=LONG) for one in (_commits, _switches, _cleans, _collects, _removes_plan)),
    ],
)
def test_a_run_ends_as_it_would_whatever_its_user_does_meanwhile(
    tmp_path: Path, meddle: Callable[[World], None]
) -> None:
    held = _held()
    with machine(tmp_path, held, settings=_SETTINGS) as (world, _):
        tree = expected_tree(world, three_tasks.EXPECTED)
        code, err = _run_and_meddle(world, held, meddle, "task.merged")
        assert code == 0, err
        assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree
        if meddle is _edits_plan:
            assert "My own words.\n" in (world.repository / "plan.md").read_text()
        if meddle is _breaks_plan:
            assert "- [?] **T1**" in (world.repository / "plan.md").read_text(), (
                "an edit under way is never written over"
            )


@pytest.mark.parametrize(
    "kind", ["task.merged", *(pytest.param(kind, marks=LONG) for kind in ("plan.created", "task.accepted"))]
)
def test_a_run_whose_state_is_deleted_ends_in_one_true_error(tmp_path: Path, kind: str) -> None:
    held = _held()
    with machine(tmp_path, held, settings=_SETTINGS) as (world, _):
        head, index = world.git("rev-parse", "HEAD"), (world.repository / ".git" / "index").read_bytes()
        code, err = _run_and_meddle(world, held, _deletes_state, kind)
        assert code == 6, err
        assert err.count("error: ") == 1, err
        assert "the state folder was removed while run" in err
        assert world.git("rev-parse", "HEAD") == head
        assert (world.repository / ".git" / "index").read_bytes() == index
        if kind == "task.merged":
            again = world.run("run", three_tasks.GOAL)
            assert again.code == 0, again.err
