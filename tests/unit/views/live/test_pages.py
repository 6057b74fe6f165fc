"""An agent's story: what its commands print while they run stands at its end, escaped."""

from pathlib import Path

from codexteam.adapters.git.location import Places
from codexteam.adapters.machine.looked_at import LookedAt
from codexteam.app.project import Project
from codexteam.app.watching import AgentFollower
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.views.live.lines import plain
from codexteam.views.live.pages import StoryPage
from tests.unit.views.live.test_board import AT, EVIL, progress_of

AGENT = AgentKey(RunId("r"), "implementer", Purpose.IMPLEMENT, "T1", 1)


def test_a_story_ends_with_what_runs_now(tmp_path: Path) -> None:
    at = tmp_path
    places = Places(at, at, at, at, bare=False, object_format="sha1", excludes_file=None)
    project = Project(places, tmp_path, tmp_path, {})
    (folder := project.run_folder(AGENT.run_id)).mkdir(parents=True)
    follower, at_work = AgentFollower(project, AGENT), True
    page = StoryPage(follower, progress_of(), lambda: AT + 60, is_run_at_work=lambda: at_work)
    assert not follower.look()

    LookedAt(folder).write(str(AGENT), "".join(f"line {number}\n" for number in range(100)) + EVIL)

    assert follower.look()
    shown = [plain(line) for line in page.lines(80)]
    assert shown[-2] == "  | line 99"
    assert "  | line 61" in shown
    assert "  | line 60" not in shown
    assert not any(letter in "".join(shown) for letter in EVIL if not letter.isprintable())

    at_work = False
    assert not any("line 99" in plain(line) for line in page.lines(80))
    page.close()
