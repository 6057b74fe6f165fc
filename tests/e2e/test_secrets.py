"""No secret leaves the user's machine in what a run leaves behind, whoever wrote it there."""

import json

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import edits
from tests.demo.script import patch, report, run, task
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import TEAM
from tests.e2e.world import KEY, World
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(300)]

#: What looks like a key of some service.
SHAPED = "sk-proj-" + "A1b2C3d4E5f6G7h8I9j0K1l2"
GOAL = f"Add a Markdown table; the keys are {SHAPED} and {KEY}."


def blab(call: Call) -> Played:
    """Name both secrets wherever a model says something that is kept."""
    said = f"{SHAPED} and {KEY}"
    match call.purpose:
        case "plan":
            only = task("T1", f"Use {said}", paths=["tally/markdown.py", "tests/"], check="tests.test_markdown")
            more: JSONObject = {"later": [f"later {said}"], "risks": [f"risk {said}"], "questions": []}
            return [message({"summary": said, "tasks": [only | {"description": said}], **more})]
        case "implement" if call.turn == 1:
            return [patch(call, edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN))]
        case "implement":
            return [report(f"It uses {said}.")]
        case "document" if call.turn == 1:
            return [patch(call, "*** Begin Patch\n*** Add File: docs.md\n+docs\n*** End Patch")]
        case "document":
            return [report(f"Documents {said}.")]
        case "release":
            notes: JSONObject = {"rollout": [said], "rollback": [said], "checklist": [said]}
            return [message({"user_notes": said, "internal_notes": said, **notes})]
        case _:
            return one_task.play(call)


def test_no_secret_reaches_commits_history_notes_or_the_plan(make: MakeWorld) -> None:
    world, _ = make(TEAM, blab)
    ended = world.run("run", GOAL)
    assert ended.code == 0, ended.out + ended.err
    assert "the goal holds what looks like a secret" in ended.err
    assert "[redacted]" in world.git("log", "-1", "--format=%B", f"{world.branch}^")
    log = world.git("log", "--all", "--format=%an %ae %s %b %D")
    plan = (world.repository / "plan.md").read_text(encoding="utf-8")
    shown = ended.out + ended.err + world.run("show", "T1").out + world.run("events").out + world.run("runs").out
    files = [path.read_text(encoding="utf-8", errors="replace") for path in world.run_folder.rglob("*.*")]
    assert len(files) > 1
    for secret in (SHAPED, KEY):
        assert not [text[:200] for text in (log, plan, shown, *files) if secret in text]


def _look(call: Call) -> Played:
    """An agent that prints the user's own file, if it can."""
    if call.purpose == "implement" and call.turn == 1:
        return [run("cat private.env 2>&1; true")]
    if call.purpose == "implement" and call.turn == 2:
        return [patch(call, edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN))]
    return one_task.play(call)


def _with_private_file(world: World) -> None:
    (world.repository / ".git" / "info" / "exclude").write_text("private.env\n")
    (world.repository / "private.env").write_text("ONLY_MINE=1\n")
    (world.repository / ".worktreeinclude").write_text("private.env\n")
    world.git("add", ".worktreeinclude")
    world.git("commit", "-qm", "include")


@pytest.mark.parametrize("trusted", [False, True])
def test_ignored_files_enter_sandboxes_of_trusted_repositories_only(make: MakeWorld, *, trusted: bool) -> None:
    told: list[str] = []

    def play(call: Call) -> Played:
        told.append(json.dumps(call.outputs))
        return _look(call)

    world, _ = make(TEAM, play)
    _with_private_file(world)
    if trusted:
        config = world.home / ".codex" / "config.toml"
        trust = f'[projects."{world.repository}"]\ntrust_level = "trusted"\n'
        config.write_text(config.read_text() + trust)
    ended = world.run("run", one_task.GOAL)
    assert ended.code == 0, ended.out + ended.err
    assert any("ONLY_MINE=1" in text for text in told) is trusted
    assert ("1 file that git ignores can be read in every sandbox" in ended.err) is trusted
    assert (".worktreeinclude is not used" in ended.err) is not trusted
    copies = [path for path in world.state.rglob("private.env") if path.is_file()]
    assert bool(copies) is trusted
    cleaned = world.run("clean", "--all")
    assert cleaned.code == 0, cleaned.err
    assert [path for path in world.state.rglob("private.env") if path.is_file()] == []
    assert list(world.state.rglob("*.extra.tar")) == []
