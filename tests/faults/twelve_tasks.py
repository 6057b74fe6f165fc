"""A small team's whole run, made for being killed: twelve tasks, one that is done wrong first, a conflict, a finding.

T1 to T11 are the plan; T2 says that it is done and is not; T5 and T6 write the same file without having said so; the
reviewer finds a flaw in what T3 wrote, and T12 is its fix. Whatever order things happen in, the last tree is
`EXPECTED`.

`play_everything` with `EVERYTHING` is the same run with every kind of effect in it: the plan waits for a person, an agent
asks, a call is refused, a task is tried twice at once and a judge chooses, QA and the documentation writer leave work, all
four gates judge. It ends with `EXPECTED_OF_EVERYTHING`.
"""

import shlex
from pathlib import Path

from codexteam.core.ids import JSONObject
from tests.demo.script import report, run
from tests.scripted_api import HttpError
from tests.scripted_api.script import Call, Played, message

GOAL = "Write the twelve files."
BASE = {"README.md": "# twelve\n", "check.sh": "set -e\ntest -s README.md\n"}

#: What stands in every file of the end; shared.txt is what both of its writers meant.
EXPECTED = {
    **BASE,
    **{f"out/t{number}.txt": f"task {number}\n" for number in range(1, 12)},
    "out/t3.txt": "task 3, mended\n",
    "shared.txt": "first\nsecond\n",
}
#: A credential that the user's environment has and that must be nowhere.
CANARY_NAME = "CANARY_TOKEN"
CANARY = "canary-" + "5f2c9ab17e40d863"

SETTINGS = """\
[codexteam]
scope = "warn"

[codexteam.sandbox]
kind = "bubblewrap"

[codexteam.gates]
commands = ["sh check.sh"]
enabled = ["ci_runner", "reviewer"]

[codexteam.limits]
max_scouts = 1
max_threads = 4
"""
#: For a run with every kind of effect.
EVERYTHING = """\
[codexteam]
approve = ["plan"]
scope = "warn"

[codexteam.steps]
documentation = "always"

[codexteam.sandbox]
kind = "bubblewrap"

[codexteam.gates]
commands = ["sh check.sh"]

[codexteam.limits]
max_scouts = 1
max_threads = 4

[codexteam.best_of]
attempts = 2
tasks = ["high_risk"]
"""
EXPECTED_OF_EVERYTHING = {**EXPECTED, "tests/qa.txt": "tried\n", "docs/notes.md": "# Notes\n"}


def _task(number: int, *, deps: tuple[int, ...] = (), paths: tuple[str, ...] | None = None) -> JSONObject:
    file = f"out/t{number}.txt"
    return {
        "id": f"T{number}",
        "title": f"Write {file}",
        "description": "",
        "role": "implementer",
        "deps": [f"T{other}" for other in deps],
        "paths": list((file,) if paths is None else paths),
        "acceptance": [{"criterion": "it says so", "command": f"grep -q 'task {number}' {file}"}],
        "effort": 1,
        "fixes": [],
    }


_TASKS: list[JSONObject] = [
    *(_task(number) for number in (1, 2, 3, 4)),
    # both write a file that neither names: the clash shows at the merge
    _task(5),
    _task(6),
    _task(7, deps=(1,)),
    _task(8, deps=(2,)),
    _task(9, deps=(5, 6)),
    _task(10, deps=(7, 8)),
    _task(11, deps=(3, 9)),
]
PLAN: JSONObject = {"summary": "Each file on its own.", "tasks": [*_TASKS], "later": [], "risks": [], "questions": []}
FIX: JSONObject = {**_task(3), "id": "T12", "title": "Mend out/t3.txt", "fixes": ["F1"]}
FINDING: JSONObject = {
    "title": "out/t3.txt is not mended",
    "detail": "It lacks a word.",
    "severity": "must_fix",
    "category": "correctness",
    "file": "out/t3.txt",
    "line": 1,
    "suggestion": "Say that it is mended.",
    "paths": ["out/t3.txt"],
}


def play(call: Call) -> Played:
    """Answer one call; what it says depends on the call alone, so that a call that is made again gets the same."""
    match call.purpose:
        case "scout":
            return [message({"summary": "Small.", "files": [], "ci": [], "next_probes": []})]
        case "plan":
            return [message(PLAN)]
        case "replan":
            return [message({**PLAN, "tasks": [FIX]})]
        case "implement" | "resolve":
            return _work(call)
        case "review":
            return _review(call)
        case "document":
            return [report("Nothing to add.")]
        case "release":
            return [message({"user_notes": "", "internal_notes": "", "rollout": [], "rollback": [], "checklist": []})]
        case other:
            return [message(f"nothing is scripted for {other}")]


def _work(call: Call) -> Played:
    if call.turn == 1:
        return [run(" && ".join(f"{_put(name, text)}" for name, text in _files(call).items()))]
    if call.turn == 2:
        return [run(f"cat out/*.txt; echo ${CANARY_NAME}; env")]
    return [report(f"{call.task_id} is done.")]


def _files(call: Call) -> dict[str, str]:
    number = call.task_id.removeprefix("T")
    if number == "12":
        return {"out/t3.txt": "task 3, mended\n"}
    mine = {f"out/t{number}.txt": f"task {number}\n"}
    if number == "2" and call.attempt == 1:
        return {"out/t2.txt": "not what was asked for\n"}
    if number in {"5", "6"}:
        one = {"5": "first\n", "6": "second\n"}[number]
        mine["shared.txt"] = "first\nsecond\n" if call.purpose == "resolve" else one
    return mine


def _put(name: str, text: str) -> str:
    return f"mkdir -p {shlex.quote(str(Path(name).parent))} && printf %s {shlex.quote(text)} > {name}"


def _review(call: Call) -> Played:
    if call.attempt == 1:
        return [message({"verdict": "block", "summary": "A word is missing.", "findings": [FINDING], "risks": []})]
    return [message({"verdict": "ship", "summary": "As asked.", "findings": [], "risks": []})]


def play_everything(call: Call) -> Played:
    """Answer one call of the run with every kind of effect."""
    if (call.purpose, call.task_id, call.attempt) == ("implement", "T8", 1):
        return HttpError(400, code="invalid_value", message="This call is refused.")
    match call.purpose:
        case "plan":
            tasks = [{**_task(10, deps=(7, 8)), "risk": "high"} if task["id"] == "T10" else task for task in _TASKS]
            return [message({**PLAN, "tasks": [*tasks]})]
        case "hidden_tests" if call.turn == 1:
            return [run(_put("tests/hidden.txt", "tried\n"))]
        case "hidden_tests":
            # what neither attempt passes, so that a judge chooses
            return [message({"summary": "More.", "tests_changed": [], "command": "grep -q more out/t10.txt"})]
        case "judge":
            return [message({"choice": "A", "reason": "Both are the same."})]
        case "implement" if call.task_id == "T4" and call.attempt == 1:
            return [message({**_REPORT, "status": "needs_clarification", "question": "Which file?"})]
        case "clarify":
            return [message({"answer": "The one of the task.", "ask_user": False})]
        case "security":
            return [message({"verdict": "ship", "summary": "Nothing.", "findings": [], "risks": []})]
        case "qa" if call.turn == 1:
            return [run(_put("tests/qa.txt", "tried\n"))]
        case "qa":
            return [message(_QA)]
        case "document" if call.turn == 1:
            return [run(_put("docs/notes.md", "# Notes\n"))]
        case _:
            return play(call)


_REPORT: JSONObject = {"status": "done", "summary": "", "commands": [], "question": None, "later": [], "risks": []}
_QA: JSONObject = {
    "summary": "As asked.",
    "tests_changed": [],
    "commands": [],
    "confidence": "high",
    "findings": [],
    "risks": [],
}
