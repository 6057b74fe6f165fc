"""`eval` through the real command: runs, grades, an interruption, one budget, hidden tests that stay hidden."""

import json
import signal
import subprocess

import pytest

from codexteam.core.ids import JSONObject
from tests.e2e.conftest import MakeWorld
from tests.e2e.eval_exercises import TEAM, make_exercises, play
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]


def test_an_interrupted_eval_is_continued_and_finds_who_resolves(make: MakeWorld) -> None:
    asked: list[str] = []

    def heard(call: Call) -> Played:
        asked.append(json.dumps(call.body))
        return play(call)

    world, _ = make(TEAM, heard)
    suite = make_exercises(world.folder / "exercises", 1)
    folder = world.folder / "evaluation"
    command = ("eval", str(suite), "--budget", "400k", "-o", str(folder), "--jobs", "1")
    arms = ("--arm", "team: -m rate-100", "--arm", "solo: -m rate-0")

    cut = world.run_until(1, signal.SIGTERM, *command, *arms)
    first = [line for line in cut.lines if line["type"] == "trial"]
    done = world.run(*command, *arms, "--json")

    assert cut.code == 143, cut.err
    assert done.code == 0, done.err
    assert len(first) < 2
    again = [line for line in done.lines if line["type"] == "trial"]
    assert len(first) + len(again) == 2  # none is done twice
    report = next(line for line in done.lines if line["type"] == "eval")
    assert _resolved(report) == {"team": 1, "solo": 0}
    assert (folder / "report.html").stat().st_size > 1_000
    assert not [body for body in asked if "number_test" in body or "assertEqual" in body]
    for repository in (folder / "trials").rglob("repository.git"):
        command_line = ["git", "-C", str(repository), "rev-list", "--all", "--count"]
        commits = subprocess.run(command_line, check=True, capture_output=True, text=True).stdout
        assert int(commits) == 2  # the base, and what its agent did


def _resolved(report: JSONObject) -> dict[str, object]:
    arms = report["arms"]
    assert isinstance(arms, list)
    return {str(arm["arm"]): arm["resolved"] for arm in arms if isinstance(arm, dict)}


def commit(world: World, message: str, code: str, **tests: str) -> None:
    """Commit the user's code with tests."""
    files = {"tally/money.py": code, **{f"tests/{name}.py": text for name, text in tests.items()}}
    for path, text in files.items():
        (world.repository / path).write_text(text)
    world.git("add", *files)
    world.git("commit", "-qm", message)


def test_a_history_becomes_tasks_that_its_own_fixes_resolve(make: MakeWorld) -> None:
    world, _ = make(TEAM, play)
    test = (
        "import unittest\n\nfrom tally.money import cents\n\n\nclass CentsTest(unittest.TestCase):\n"
        "    def test_cents(self):\n        self.assertEqual(cents({0}), {0} * 100)\n"
    )
    code = "def cents(x):\n    return {}\n"
    commit(world, "Say cents in whole numbers", code.format("int(x * 100)"), test_cents=test.format(1))
    commit(world, "Describe it all in words", code.format("int(100 * x)  # whole"))

    done = world.run("eval", "mine", "-o", str(world.folder / "tasks"), "--json")
    listed = world.run("eval", str(world.folder / "tasks"), "--dry-run", "--json")

    assert done.code == 0, done.err
    found = done.lines[-2]
    assert (found["commits"], found["candidates"], found["kept"]) == (2, 1, 1)
    assert found["dropped"] == {"changes no test": 1}
    [task] = [line for line in listed.lines if line["type"] == "task"]
    assert str(task["task"]).endswith("say-cents-in-whole-numbers")
    bundle = next((world.folder / "tasks").glob("*/environment/repository.bundle"))
    assert world.git("bundle", "list-heads", str(bundle)).split()[1] == "refs/heads/base"
    reference = next((world.folder / "tasks").glob("*/solution/solution.patch")).read_text()
    assert "tally/money.py" in reference
    assert "test_cents" not in reference
