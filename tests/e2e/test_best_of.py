"""A hard task that is tried three times at once, through the real command: one attempt is merged, the others are kept."""

import json

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import edits, script
from tests.demo.script import patch, report
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

TEAM = (
    '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 0\n'
    '[codexteam.gates]\nenabled = ["ci_runner", "qa_test_author"]\n'
    '[codexteam.best_of]\nattempts = 3\nmodels = ["gpt-5.5", "gpt-6-luna"]\n'
)
HIDDEN = """import unittest

from tally.markdown import SECRET


class Hidden(unittest.TestCase):
    def test_it(self):
        self.assertEqual(SECRET, 3)
"""


def plan() -> JSONObject:
    tasks = one_task.plan()["tasks"]
    assert isinstance(tasks, list)
    [only] = tasks
    assert isinstance(only, dict)
    return {**one_task.plan(), "tasks": [{**only, "risk": "high"}]}


def work(call: Call) -> Played:
    """The first breaks its own test, the second does what the task says, the third what QA wants too."""
    if call.turn > 1:
        return [report(f"There is a table, by attempt {call.attempt}.")]
    code = f"{edits.MARKDOWN}\n\nSECRET = {call.attempt}\n"
    code = "def broken(" if call.attempt == 1 else code
    return [patch(call, edits.add(tally__markdown=code, tests__test_markdown=edits.TEST_MARKDOWN))]


def play(call: Call) -> Played:
    match call.purpose:
        case "plan":
            return [message(plan())]
        case "implement":
            return work(call)
        case "hidden_tests" if call.turn == 1:
            return [patch(call, edits.add(tests__test_hidden=HIDDEN))]
        case "hidden_tests":
            answer: JSONObject = {"summary": "The secret.", "tests_changed": ["tests/test_hidden.py"]}
            return [message({**answer, "command": "python3 -m unittest tests.test_hidden"})]
        case _:
            return script.play(call)


def test_who_passes_the_hidden_tests_is_merged_also_after_a_kill(make: MakeWorld) -> None:
    world, api = make(TEAM, play)

    # killed when something is known of one of them
    process = world.start_near("run", one_task.GOAL, "--json")
    assert process.stdout is not None
    next(line for line in process.stdout if '"task.tried"' in line)
    process.kill()
    process.communicate()
    ended = world.run("resume")

    assert ended.code == 0, ended.err
    assert world.git("show", f"{world.branch}:tally/markdown.py").endswith("SECRET = 3\n")
    assert world.git("show", f"{world.branch}:tests/test_hidden.py") == HIDDEN
    told = [request.call for request in api.requests]
    by_attempt = {call.attempt: call.body["model"] for call in told if call.purpose == "implement"}
    assert by_attempt == {1: "gpt-5.4", 2: "gpt-5.5", 3: "gpt-6-luna"}
    assert not any("SECRET, 3" in json.dumps(call.input) for call in told if call.purpose == "implement")
    begun = [event["attempt"] for event in world.events() if event["kind"] == "task.started"]
    assert begun == [1, 2, 3]
    [chosen] = [event for event in world.events() if event["kind"] == "task.chosen"]
    assert (chosen["attempt"], chosen["by"], chosen["attempts"]) == (3, "passed", [1, 2, 3])

    story = world.run("show", "T1", "--json").out
    assert '"search_code"' in story
    assert '"leave_note"' not in story, "notes would be about work that may not be taken"

    shown = world.run("show", "T1").out
    assert "best of 3: attempt 3 of 3 is taken" in shown
    assert shown.count("set aside:") == 2
    kept = world.run("salvage").out
    assert "T1.1" in kept
    assert "T1.2" in kept
    several = world.run("metrics", "--json").lines[0]["best_of"]
    assert isinstance(several, dict)
    assert (several["tasks"], several["merged"]) == (1, 1)
    # the first may not have been tried when the third passed
    assert {several["paid"], several["sooner"]} == {0, 1}
    asked = [call.headers["idempotency-key"] for call in told]
    assert len(asked) - len({*asked}) <= 4, "what was answered before the kill is not asked again"
