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


def test_a_row_of_pro_is_graded_by_the_tests_of_a_later_commit(make: MakeWorld) -> None:
    asked: list[str] = []

    def heard(call: Call) -> Played:
        asked.append(json.dumps(call.body))
        return play(call)

    world, _ = make(TEAM, heard)
    place = world.folder / "clones" / "acme__number"
    place.mkdir(parents=True)

    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command_line = ["git", "-C", str(place), *identity, *words]
        return subprocess.run(command_line, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    test = (
        "import unittest\n\nfrom number import number\n\n\nclass NumberTest(unittest.TestCase):\n"
        "    def test_callable(self):\n        self.assertTrue(callable(number))\n"
    )
    (place / "number.py").write_text("def number():\n    pass\n")
    (place / "number_test.py").write_text(test)
    git("add", ".")
    git("commit", "-qm", "A number")
    base = git("rev-parse", "HEAD")
    (place / "number.py").write_text("def number():\n    return 7\n")
    (place / "number_test.py").write_text(
        test + "\n    def test_number(self):\n        self.assertEqual(number(), 7)\n"
    )
    git("commit", "-qam", "Seven")
    fixed = git("rev-parse", "HEAD")
    row = {
        "repo": "acme/number",
        "instance_id": f"instance_acme__number-{fixed}",
        "base_commit": base,
        "patch": git("diff", base, fixed, "--", "number.py") + "\n",
        "test_patch": "",
        "problem_statement": "The number is missing.\n\nReturn the number 7.",
        "requirements": "- `number()` returns it.",
        "interface": "No new interfaces are introduced.",
        "repo_language": "python",
        "fail_to_pass": "['number_test.NumberTest.test_number']",
        "pass_to_pass": "['number_test.NumberTest.test_callable']",
        "before_repo_set_cmd": f"git reset --hard {base}\ngit clean -fd\ngit checkout {fixed} -- number_test.py",
        "selected_test_files_to_run": "['number_test.py']",
        "dockerhub_tag": "acme.number-none",
    }
    rows = world.folder / "rows.jsonl"
    rows.write_text(json.dumps(row) + "\n")

    done = world.run(
        "eval",
        str(rows),
        *("--repos", str(place.parent), "--test-command", "python3 -m unittest {tests}"),
        *("--budget", "400k", "-o", str(world.folder / "evaluation"), "--json"),
        *("--arm", "team: -m rate-100", "--arm", "solo: -m rate-0"),
    )

    assert done.code == 0, done.err
    report = next(line for line in done.lines if line["type"] == "eval")
    assert _resolved(report) == {"team": 1, "solo": 0}
    assert not [body for body in asked if "test_number" in body or fixed in body]
