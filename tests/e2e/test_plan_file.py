"""What a user does to plan.md reaches the run, or is one clear error or a warning; and is never written over."""

import signal
from pathlib import Path

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

TITLE = ("Write a Markdown table", "Write a table in Markdown")
MARKER = "<!-- codexteam run "
NEW = "\n- [ ] **T7** One more `implementer` (effort 1)\n\n## Later\n"
GIVEN = """\
# My plan

Words for Ana.

## Goal

Add a table.

## Tasks

Ask Ana first.

- [ ] **T1** Write a Markdown table `implementer` (effort 1)
  - paths: `tally/markdown.py`, `tests/test_markdown.py`
  - accept: `python3 -m unittest -q tests.test_markdown`
"""


def _without_header(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(MARKER))


def _refused(world: World, path: Path, *arguments: str) -> str:
    """Give what is said where a command ends with one error, and leaves plan.md and the runs as they were."""
    before, runs = path.read_text(), world.run("runs", "--json").out
    ended = world.run(*arguments)
    assert ended.code == 2, ended.out + ended.err
    assert ended.err.count("error: ") == 1, ended.err
    assert "Traceback" not in ended.err
    assert path.read_text() == before
    assert world.run("runs", "--json").out == runs
    return " ".join(ended.err.split())


def test_another_runs_edited_plan_is_refused_until_its_user_decides(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    path = world.repository / "plan.md"
    assert world.run("plan", GOAL).code == 0
    header = next(line for line in path.read_text().splitlines() if line.startswith(MARKER))
    edited = path.read_text().replace(*TITLE).replace("## Later\n", "My own words.\n\n## Later\n")

    path.write_text(_without_header(edited))
    said = _refused(world, path, "resume")
    assert "plan.md: the line `<!-- codexteam run ... -->` is missing; the file was left as it is" in said
    assert f"put the line back below the title: {header}; or move the file away" in said

    path.write_text(edited.replace(MARKER, f"{MARKER}9"))
    assert "is not known here" in _refused(world, path, "resume")

    path.write_text(edited.replace("  - paths: ", "  * paths: "))
    assert "plan.md:12: this looks like 'paths' of T1" in _refused(world, path, "resume")

    path.write_text(edited)
    assert "was edited; the file was left as it is hint: codexteam resume" in _refused(
        world, path, "run", "Else " + GOAL
    )
    assert world.run("resume").code == 0
    assert "- [x] **T1** Write a table in Markdown" in path.read_text()
    assert "My own words.\n" in path.read_text()


def test_a_plan_of_the_user_s_own_is_worked_on_with_its_words(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    path = world.repository / "plan.md"
    mine = world.repository / "mine.md"

    mine.write_text(GIVEN.replace("  - paths", "  - Paths"))
    ended = world.run("run", "--plan", "mine.md")
    assert ended.code == 2
    assert "error: mine.md:14: this looks like 'paths' of T1" in ended.err
    assert not path.exists()

    mine.unlink()
    path.write_text(GIVEN)
    ended = world.run("run", "--plan", "plan.md")
    assert ended.code == 0, ended.out + ended.err
    shown = path.read_text()
    assert shown.startswith(f"# My plan\n\n{MARKER}{world.run_folder.name} ")
    assert "Words for Ana.\n" in shown
    assert "Ask Ana first.\n" in shown
    assert "- [x] **T1** Write a Markdown table" in shown
    checks = [event for event in world.events() if event["kind"] == "acceptance.checked"]
    assert checks, "a command alone is run"


def test_a_given_plan_is_used_even_after_an_end_while_opening(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    path = world.repository / "plan.md"
    path.write_text(GIVEN)
    cut_off = world.run_until(1, signal.SIGKILL, "run", "--plan", "plan.md")
    assert cut_off.code == -signal.SIGKILL
    assert api.requests == [], "it had not begun"
    ended = world.run("resume")
    assert ended.code == 0, ended.out + ended.err
    assert "plan" not in {request.call.purpose for request in api.requests}
    shown = path.read_text()
    assert "Words for Ana.\n" in shown
    assert "- [x] **T1** Write a Markdown table" in shown


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\n## Later\n", NEW, "it was edited while the run is at work"),
        (MARKER, "<!-- ", "is missing"),
        ("  - paths: ", "  - Paths: ", "this looks like 'paths' of T1"),
    ],
)
def test_an_edit_while_the_run_is_at_work_is_said_and_kept(make: MakeWorld, old: str, new: str, words: str) -> None:
    saved: list[str] = []

    def play(call: Call) -> Played:
        if call.purpose == "implement" and not saved:
            saved.append(path.read_text().replace(old, new))
            path.write_text(saved[0])
        return one_task.play(call)

    world, _ = make(TEAM, play)
    path = world.repository / "plan.md"
    ended = world.run("run", GOAL)
    assert ended.code == 0, ended.out + ended.err
    assert path.read_text() == saved[0]
    [said] = [line for line in ended.err.splitlines() if "plan.md is left alone" in line]
    assert words in said

    if new != NEW:
        assert words.replace("`", "") in _refused(world, path, "resume")
        return
    again = world.run("resume")
    assert again.code == 0, again.out + again.err
    assert "- [x] **T7** One more" in path.read_text()
    # once its branch is gone from the hub, it takes no more
    assert world.run("clean").code == 0
    path.write_text(path.read_text().replace(old, new.replace("T7", "T8")))
    assert "was cleaned and takes no new tasks" in _refused(world, path, "resume")


def test_an_edit_is_checked_whole_before_any_of_it_is_stored(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    path = world.repository / "plan.md"
    assert world.run("plan", GOAL).code == 0
    good = path.read_text()
    assert "T2 is the next free id" in good

    path.write_text(good.replace("`implementer` (effort 1)\n  - paths", "`implementr` (effort 1)\n  - paths"))
    for _ in range(2):
        said = _refused(world, path, "resume")
        assert "plan.md:11: role of T1: found `implementr`, which is not a role here" in said
        assert "did you mean `implementer`?" in said
    path.write_text(good.replace("`tally/markdown.py`", "`../markdown.py`"))
    assert "plan.md:12: paths of T1: `../markdown.py` leaves the repository" in _refused(world, path, "resume")
    path.write_text(good.replace("## Later\n", "- [ ] **T2** Two\n  - after: T9\n\n## Later\n"))
    assert "waits for T9, which is not in the plan" in _refused(world, path, "resume")
    path.write_text(good.replace("which writes sums", "which writes all sums"))
    assert "plan.md:5: the goal was changed" in _refused(world, path, "resume")
    path.write_text("")
    assert "plan.md:1: the file is empty" in _refused(world, path, "resume")
    path.write_text(good.replace("- [ ] **T1**", "- [-] **T1**"))
    assert "no tasks in it that are not dropped" in _refused(world, path, "resume")

    path.write_text(good)
    ended = world.run("resume")
    assert ended.code == 0, ended.out + ended.err
    shown = path.read_text()

    path.write_text(shown.replace(*TITLE))
    late = world.run("resume")
    assert late.code == 0, late.out + late.err
    assert "plan.md: T1 is merged: your change of it comes too late" in late.err
    assert path.read_text() == shown
    assert TITLE[1] in (world.run_folder / "plan-as-edited.md").read_text()


def test_a_given_plan_is_looked_at_whole_before_there_is_a_run(make: MakeWorld) -> None:
    world, api = make(TEAM, one_task.play)
    mine = world.repository / "mine.md"

    for old, new, words in (
        ("`implementer`", "`implementr`", "mine.md:13: role of T1: found `implementr`"),
        ("`tally/markdown.py`", "`/etc`", "mine.md:14: paths of T1: `/etc` leaves the repository"),
        ("  - paths", "  - deps: `T4`\n  - paths", "mine.md:14: task T1 waits for T4"),
        ("- [ ]", "- [-]", "there are no tasks to do in it"),
    ):
        mine.write_text(GIVEN.replace(old, new))
        ended = world.run("run", "--plan", "mine.md")
        assert ended.code == 2
        assert words in " ".join(ended.err.split())
    assert not world.state.exists()
    assert api.requests == []


def test_a_task_of_a_role_that_is_gone_is_named_until_it_has_another(make: MakeWorld) -> None:
    world, _ = make(TEAM, one_task.play)
    path = world.repository / "plan.md"
    role = world.home / ".codex" / "agents" / "builder.toml"
    role.parent.mkdir()
    role.write_text('name = "builder"\ndescription = "Builds."\ndeveloper_instructions = "Build."\n')
    assert world.run("plan", GOAL).code == 0
    path.write_text(path.read_text().replace("`implementer` (effort 1)\n  - paths", "`builder` (effort 1)\n  - paths"))
    cut_off = world.run_until(5, signal.SIGTERM, "resume")
    assert cut_off.code == 128 + signal.SIGTERM, cut_off.err
    role.unlink()

    said = world.run("resume")
    assert said.code == 2
    assert "role of T1: found `builder`, which is not a role here" in said.err
    path.write_text(path.read_text().replace("`builder`", "`implementer`"))
    ended = world.run("resume")
    assert ended.code == 0, ended.out + ended.err
    assert "- [x] **T1**" in path.read_text()
