"""The user's hooks in a whole run: told of what happens, asked before a merge, and reported where they fail."""

import json
import sys
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.conftest import codex_binary
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World, fingerprint

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(200)]

#: Keeps what it is told; before the first merge it looks at the diff and refuses.
_HOOK = """\
import json, pathlib, subprocess, sys
told = json.load(sys.stdin)
folder = pathlib.Path(__file__).parent
with (folder / "told.jsonl").open("a") as file:
    file.write(json.dumps(told) + "\\n")
if told["hook_event_name"] == "PreMerge":
    git = ["git", "--git-dir", told["git_dir"], "diff", "--name-only", told["onto"], told["commit"]]
    changed = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split()
    if not (folder / "refused").exists():
        (folder / "refused").write_text("")
        sys.exit("no licence header in " + " and ".join(changed))
if told["hook_event_name"] == "TaskStarted":
    sys.exit(3)
"""
_EVENTS = ("RunStarted", "PlanReady", "TaskStarted", "PreMerge", "TaskMerged", "GateFinished", "RunFinished")


def _hooks(folder: Path) -> str:
    (folder / "hook.py").write_text(_HOOK)
    command = json.dumps(f"{sys.executable} {folder / 'hook.py'}")
    groups = "".join(
        f'[[codexteam.hooks.{event}]]\nhooks = [{{ type = "command", command = {command}, timeout = 30 }}]\n'
        for event in _EVENTS
    )
    return one_task.TEAM + groups


def _told(folder: Path) -> list[JSONObject]:
    return [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]


def _check(world: World, folder: Path, **environment: str) -> None:
    before = fingerprint(world)
    ended = world.run("run", one_task.GOAL, "--json", **environment)
    assert ended.code == 0, ended.out[-3000:] + ended.err
    assert fingerprint(world) == before
    assert ended.lines[-1]["kind"] == "run.finished"
    told = _told(folder)
    names = [
        str(each["hook_event_name"]) for each in told if each["hook_event_name"] not in {"GateFinished", "PreMerge"}
    ]
    assert names == ["RunStarted", "PlanReady", "TaskStarted", "TaskStarted", "TaskMerged", "RunFinished"]
    assert [each["task"] for each in told if each["hook_event_name"] == "PreMerge"][:2] == ["T1", "T1"]
    assert {each["run_id"] for each in told} == {ended.lines[-1]["run"]}
    [refused] = [line for line in ended.lines if line["kind"] == "task.refused"]
    assert "no licence header in tally/markdown.py and tests/test_markdown.py" in str(refused["reason"])
    notices = [str(line.get("text")) for line in ended.lines if line["kind"] == "notice"]
    assert any("the TaskStarted hook" in text and "failed: exit code 3" in text for text in notices)
    story = world.run("show", "T1")
    assert "a PreMerge hook refused its merge" in story.out, story.out


def test_hooks_are_told_may_refuse_and_are_reported(make: MakeWorld, tmp_path: Path) -> None:
    world, _ = make(_hooks(tmp_path), one_task.play)
    _check(world, tmp_path)


@pytest.mark.slow
@pytest.mark.codex
def test_hooks_work_as_well_with_the_users_codex(make: MakeWorld, tmp_path: Path) -> None:
    world, _ = make('[codexteam]\nengine = "codex"\n' + _hooks(tmp_path), one_task.play)
    config = world.home / ".codex" / "config.toml"
    config.write_text(config.read_text().replace("gpt-5.4", "gpt-5.5"))
    binary = codex_binary()
    assert binary is not None
    _check(world, tmp_path, PATH=f"{Path(binary).parent}:{world.environment()['PATH']}")


def test_a_hook_without_an_answer_ends_the_session_and_is_asked_again(make: MakeWorld, tmp_path: Path) -> None:
    wait = f"test -e {tmp_path}/mended || exec {tmp_path}/missing"
    hook = f'[[codexteam.hooks.PreMerge]]\nhooks = [{{ type = "command", command = "{wait}" }}]\n'
    world, api = make(one_task.TEAM + hook, one_task.play)
    stopped = world.run("run", one_task.GOAL)
    assert stopped.code == 6, stopped.out + stopped.err
    assert "a PreMerge hook gave no answer, so nothing was merged" in stopped.err
    report = world.run_folder / "report.html"
    assert f"report: {report}" in stopped.err
    assert "Write a Markdown table" in report.read_text()
    asked = sum(request.call.purpose == "implement" for request in api.requests)
    (tmp_path / "mended").write_text("")
    ended = world.run("resume")
    assert ended.code == 0, ended.out + ended.err
    assert sum(request.call.purpose == "implement" for request in api.requests) == asked


def test_hooks_of_an_untrusted_project_do_not_run(make: MakeWorld, tmp_path: Path) -> None:
    world, _ = make(one_task.TEAM, one_task.play)
    project = world.repository / ".codex"
    project.mkdir(exist_ok=True)
    line = f'hooks = [{{ type = "command", command = "touch {tmp_path}/ran" }}]'
    (project / "codexteam.config.toml").write_text(f"[[codexteam.hooks.RunStarted]]\n{line}\n")
    world.git("add", "-A")
    world.git("commit", "-qm", "Add hooks")
    ended = world.run("run", one_task.GOAL)
    assert ended.code == 0, ended.out + ended.err
    assert not (tmp_path / "ran").exists()
