"""What is in an agent's workspace and not in its work is known to the agent, the next attempt, the user and `show`."""

import subprocess

import pytest

from codexteam.core.ids import JSONObject, JSONValue
from tests.demo import script
from tests.demo.script import report, run
from tests.e2e.conftest import MakeWorld
from tests.e2e.one_task import GOAL, TEAM
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

ONE_ATTEMPT = f"{TEAM}[codexteam.limits]\nmax_attempts = 1\n"
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"


def _plan(*tasks: JSONObject) -> Played:
    listed: list[JSONValue] = list(tasks)
    return [message({"summary": "s", "tasks": listed, "later": [], "risks": [], "questions": []})]


def _task(name: str, path: str, command: str = "true") -> JSONObject:
    accept: list[JSONValue] = [{"criterion": "it holds", "command": command}]
    return {
        "id": name,
        "title": f"Do {name}",
        "description": "",
        "role": "implementer",
        "deps": [],
        "paths": [path],
        "acceptance": accept,
        "effort": 1,
        "fixes": [],
    }


def _ignore(world: World) -> None:
    with (world.repository / ".gitignore").open("a") as file:
        file.write("lib/\n")
    world.git("add", ".gitignore")
    world.git("commit", "-qm", "ignore lib", "--", ".gitignore")


def test_an_ignored_file_that_no_path_names_is_named_to_everybody(make: MakeWorld) -> None:
    told: list[str] = []

    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                return _plan(_task("T1", "src/**", "test -f src/lib/util.py"))
            case "implement" if call.turn == 1:
                told.append(str(call.body["input"]))
                return [run("mkdir -p src/lib && echo x=1 >src/lib/util.py")]
            case "implement" if call.turn == 2 and call.attempt == 2:
                told.append(str(call.body["input"]))
                return [run("mkdir -p src/lib && echo x=1 >src/lib/util.py && git add -f src/lib/util.py")]
            case "implement":
                told.append(str(call.body["input"]))
                return [report("there is a module")]
            case _:
                return script.play(call)

    world, _ = make(TEAM, play)
    _ignore(world)
    ended = world.run("run", GOAL)
    rule = "src/lib/: ignored: `lib/` in .gitignore"
    assert rule in told[1], "the agent knows it in its next turn"
    assert "git add -f" in told[1]
    assert "What was in its workspace and is not in its work" in told[2], "so does the next attempt"
    assert f"not in its work: {rule}" in ended.err, "and the user"
    shown = " ".join(world.run("show", "T1").out.split())
    assert f"note not in its work: {rule}" in shown
    assert world.git("show", f"{world.branch}:src/lib/util.py") == "x=1\n", "added by force it is taken"


def test_a_task_that_merges_without_a_change_says_so(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                return _plan(_task("T1", "src/**"))
            case "implement":
                return [report("nothing to do")]
            case _:
                return script.play(call)

    world, _ = make(TEAM, play)
    ended = world.run("run", GOAL)
    assert "T1 merged without a change" in ended.err
    shown = world.run("show", "T1").out
    assert "merged  without a change" in shown
    assert "merged without a change; handed in" in " ".join(shown.split())


def test_a_suspected_credential_can_be_allowed_at_the_last_attempt(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                return _plan(_task("T1", "conf.py"))
            case "implement" if call.turn == 1:
                return [run(f"echo 'key = \"{KEY}\"' >conf.py")]
            case "implement":
                return [report("a made-up key for the tests")]
            case _:
                return script.play(call)

    world, _ = make(ONE_ATTEMPT, play)
    ended = world.run("run", GOAL)
    assert ended.code == 5, ended.out + ended.err
    inbox = " ".join(world.run("inbox").out.split())
    assert "looks like a credential" in inbox
    assert "allowed_credentials = [" in inbox
    assert KEY not in inbox + ended.out + ended.err
    item = inbox.split()[0]
    assert world.run("approve", item).code == 0
    ended = world.run("resume")
    assert KEY in world.git("show", f"{world.branch}:conf.py"), ended.out + ended.err


def test_a_base_pruned_between_plan_and_resume_damages_nothing(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        match call.purpose:
            case "plan":
                return _plan(_task("T1", "b.txt"))
            case "implement" if call.turn == 1:
                return [run("echo b >b.txt")]
            case "implement":
                return [report("done")]
            case _:
                return script.play(call)

    world, _ = make(TEAM, play)
    assert world.run("plan", GOAL).code == 0
    world.git("commit", "-q", "--amend", "--only", "--no-verify", "-m", "reworded")
    world.git("reflog", "expire", "--expire=now", "--all")
    world.git("gc", "-q", "--prune=now")
    ended = world.run("resume")
    assert world.git("show", f"{world.branch}:b.txt") == "b\n", ended.out + ended.err
    argv = ["git", "-C", str(world.repository), "fsck", "--connectivity-only"]
    assert subprocess.run(argv, check=False, capture_output=True).returncode == 0
    world.git("gc", "-q")
