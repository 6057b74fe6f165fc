"""Two agents that need the same helper: what a note between them is worth, through the real command."""

import json

import pytest

from codexteam.core.ids import JSONObject, JSONValue
from tests.demo import script
from tests.demo.edits import add
from tests.demo.script import patch, report, run, task
from tests.e2e.conftest import MakeWorld
from tests.scripted_api.script import Call, Played, function_call, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

#: Both may write beside their own paths: this is about two that do.
TEAM = (
    '[codexteam]\nscope = "warn"\n[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 0\n'
    'max_attempts = 1\n[codexteam.gates]\nenabled = ["ci_runner"]\n'
)
GOAL = (
    "Add tally/euros.py and tally/pence.py, which print amounts, each with a test of its own in tests, beside money.py."
)
NOTE = "tally/digits.py has digits(cents) -> str; import it"
TEST = "import unittest\n\n\nclass Prints(unittest.TestCase):\n    def test_it(self):\n        {body}\n"


def plan() -> JSONObject:
    tasks: list[JSONValue] = [
        task(
            f"T{number}",
            f"Print {name}",
            paths=[f"tally/{name}.py", f"tests/test_{name}.py"],
            check=f"tests.test_{name}",
        )
        for number, name in ((1, "euros"), (2, "pence"))
    ]
    return {"summary": "Two modules.", "tasks": tasks, "later": [], "risks": [], "questions": []}


def module(name: str) -> dict[str, str]:
    body = f"from tally.{name} import shown; self.assertEqual(shown(125), '1.25 {name}')"
    own = f"from tally.digits import digits\n\n\ndef shown(cents):\n    return digits(cents) + ' {name}'\n"
    return {f"tally__{name}": own, f"tests__test_{name}": TEST.format(body=body)}


def helper(name: str) -> dict[str, str]:
    return {"tally__digits": f"# for {name}\ndef digits(cents):\n    return f'{{cents / 100:.2f}}'\n"}


def play(call: Call, *, notes: bool) -> Played:
    """The first one decides on the helper; the second one waits for its word, or knows nothing of it."""
    match call.purpose, call.task_id:
        case "plan", _:
            return [message(plan())]
        case "implement", "T1":
            note = function_call("leave_note", {"kind": "interface", "text": NOTE})
            written = patch(call, add(**helper("euros"), **module("euros")))
            return [[note] if notes else [run("true")], [written], [report("There are euros.")]][call.turn - 1]
        case "implement", "T2":
            was_told = NOTE in json.dumps(call.input)
            is_written = "pence" in json.dumps([item for item in call.input if "call" in str(item.get("type"))])
            if is_written:
                return [report("There are pence.")]
            if notes and not was_told:
                return [run(f"sleep 0.2 # {call.turn}")]
            return [patch(call, add(**({} if was_told else helper("pence")), **module("pence")))]
        case _:
            return script.play(call)


@pytest.mark.parametrize("notes", [True, False])
def test_a_note_about_an_interface_prevents_a_conflict(make: MakeWorld, notes: bool) -> None:
    world, api = make(TEAM, lambda call: play(call, notes=notes))

    ended = world.run("run", GOAL)

    kinds = [event["kind"] for event in world.events()]
    assert ("task.conflicted" in kinds) is not notes, ended.err
    assert kinds.count("task.merged") == (2 if notes else 1)
    assert (ended.code == 0) is notes, ended.err
    # with its next turn, or as it begins where it begins later
    told = {request.call.task_id for request in api.requests if NOTE in json.dumps(request.call.input)}
    assert told - {"T1"} == ({"T2"} if notes else set())
