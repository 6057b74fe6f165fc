"""A small team's short run, made for one fault: T1 and T4 at the same time, T7 after T1, and one gate.

The tasks are three of the twelve, and so is all that is said in them. Whatever goes wrong on the way, the last tree is
`EXPECTED`.
"""

import json
import re
from typing import cast

from codexteam.core.ids import JSONObject
from tests.faults import twelve_tasks
from tests.scripted_api.script import Call, Played, message

GOAL = "Write the three files."
_CHOSEN = ("T1", "T4", "T7")
_TASKS = cast("list[JSONObject]", twelve_tasks.PLAN["tasks"])
PLAN: JSONObject = {**twelve_tasks.PLAN, "tasks": [task for task in _TASKS if task["id"] in _CHOSEN]}

EXPECTED = {
    **twelve_tasks.BASE,
    **{f"out/{name.lower()}.txt": f"task {name[1:]}\n" for name in _CHOSEN},
    "tally/money.py": "cents = 1\n",
}

SETTINGS = """\
[codexteam.sandbox]
kind = "{kind}"
image = "codexteam-sandbox:test"

[codexteam.gates]
commands = ["sh check.sh"]
enabled = ["ci_runner"]

[codexteam.limits]
max_scouts = 0
max_threads = 2
"""


#: What a role does in this run, for calls that do not say it.
_PURPOSES = {
    "requirement_analyst": "scout",
    "orchestrator": "plan",
    "implementer": "implement",
    "documentation": "document",
    "release_manager": "release",
}


def play(call: Call) -> Played:
    """Answer one call; where it has no metadata it is given what can be seen of them, so that checks know it."""
    if "metadata" not in call.body:
        call.body["metadata"] = guessed(call)
    return [message(PLAN)] if call.purpose == "plan" else twelve_tasks.play(call)


def guessed(call: Call) -> JSONObject:
    """Tell from its text what a call is."""
    run_id, _, role = str(call.body.get("prompt_cache_key")).rpartition("-")
    task = re.search(r"- \[ \] \*\*(T\d+)\*\*", json.dumps(call.input[:2])) if role == "implementer" else None
    names = {"run_id": run_id, "role": role, "purpose": _PURPOSES[role], "task_id": task[1] if task else ""}
    return {**names, "attempt": "1", "turn": str(1 + len(call.outputs)), "guessed": "yes"}
