"""Questions, plans alone and the steps around a run, through the real command."""

import json
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.demo import script
from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World
from tests.scripted_api.script import Call, Played, message

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]

TEAM = '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 1\n'
ANSWER = "Amounts are kept as **cents**, in `tally/money.py`."
EMPTY: JSONObject = {"summary": "", "tasks": [], "later": [], "risks": [], "questions": []}


def notified(world: World) -> Path:
    """Let the user's configuration name a program that keeps each argument it gets; give the file."""
    file, program = world.folder / "notified", world.folder / "notify.sh"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$2" >> {file}\n')
    program.chmod(0o755)
    config = world.home / ".codex" / "config.toml"
    config.write_text(f'notify = ["{program}", "mine"]\n{config.read_text()}')
    return file


def messages(world: World, file: Path, count: int) -> list[JSONObject]:
    """Wait for the program, which nobody else waits for."""
    import time

    until = time.monotonic() + 20
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < until, "nobody was told"
        time.sleep(0.05)
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_question_is_answered_and_nobody_implements(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "plan":
            return [message({**EMPTY, "answer": ANSWER, "plan_only": None, "probes": None})]
        return one_task.play(call)

    world, api = make(TEAM, play)
    file = notified(world)

    ended = world.run("run", "How does tally keep the amounts that it reads?", "-o", "last.md")

    assert ended.code == 0, ended.err
    assert ended.out.startswith("answered: the goal is a question, and nothing was to be changed\n")
    assert "cents" in ended.out
    assert (world.repository / "last.md").read_text() == f"{ANSWER}\n"
    assert {request.call.purpose for request in api.requests} == {"scout", "plan"}
    assert not (world.repository / "plan.md").exists()
    assert world.run("status").out.count("answer  ") == 1
    [told] = messages(world, file, 1)
    assert told["type"] == "agent-turn-complete"
    assert told["cwd"] == str(world.repository)
    assert told["codexteam"] == {"event": "finished", "run": told["thread-id"], "result": "answered", "exit_code": 0}


def test_a_goal_that_wants_a_plan_alone_ends_with_it(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        if call.purpose == "plan":
            return [message({**one_task.plan(), "plan_only": True})]
        return one_task.play(call)

    world, api = make(TEAM, play)
    file = notified(world)

    ended = world.run("run", "Make a plan for a Markdown table; do not implement it.")

    assert ended.code == 0, ended.err
    assert "wave 1" in ended.out
    assert "implement" not in {request.call.purpose for request in api.requests}
    assert "**T1** Write a Markdown table" in (world.repository / "plan.md").read_text()
    [told] = messages(world, file, 1)
    assert str(told["last-assistant-message"]).startswith("waits for you: plan: The goal asks for a plan alone.")


def test_what_was_paid_for_is_in_the_summary_and_in_status(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        match call.purpose:
            case "review":
                return [
                    message({"verdict": "ship", "summary": "Good.", "findings": [], "risks": ["Wide tables wrap."]})
                ]
            case "qa":
                ran: JSONObject = {"command": "python3 -m tally", "exit_code": 1, "note": "no arguments"}
                qa: JSONObject = {
                    "summary": "Fine.",
                    "tests_changed": [],
                    "findings": [],
                    "risks": ["No test of Unicode."],
                }
                return [message({**qa, "commands": [ran], "confidence": "medium"})]
            case "scout":
                report: JSONObject = {
                    "summary": "Small.",
                    "files": [],
                    "ci": [],
                    "next_probes": ["how the tests are run"],
                }
                return [message(report)]
            case "document":
                return [
                    message(
                        {
                            "status": "done",
                            "summary": "Nothing to say.",
                            "commands": [],
                            "question": None,
                            "later": [],
                            "risks": [],
                        }
                    )
                ]
            case _:
                return one_task.play(call)

    gates = '[codexteam.gates]\ncommands = ["python3 -m unittest discover -q -s tests -t ."]\n'
    world, api = make(TEAM + gates, play)

    ended = world.run("run", one_task.GOAL, "--constraints", "Use the standard library alone.")

    assert ended.code == 0, ended.err
    for words in (
        "qa_test_author ship (medium confidence)",
        "ran     `python3 -m unittest discover -q -s tests -t .` passed: exit code 0",
        "qa ran  `python3 -m tally` failed: exit code 1: no arguments",
        "risks   ",
        "Wide tables wrap. (reviewer)",
        "No test of Unicode. (qa_test_author)",
    ):
        assert words in ended.out.replace("\xa0", " "), ended.out
    assert f"notes   {world.run_folder}/release-notes.md" in ended.out
    [shown] = [line for line in world.run("status", "--json").lines if line["type"] == "status"]
    risks = shown["risks"]
    assert isinstance(risks, list)
    assert set(risks) == {"Wide tables wrap. (reviewer)", "No test of Unicode. (qa_test_author)"}
    assert "- Wide tables wrap. (reviewer)" in (world.repository / "plan.md").read_text()
    asked = {request.call.purpose: json.dumps(request.call.body["input"]) for request in api.requests}
    assert "It would look next at:\\n- how the tests are run" in asked["plan"]
    assert "Use the standard library alone." in asked["review"]


def test_one_batch_ends_after_its_gates_and_a_resume_does_what_is_left(make: MakeWorld) -> None:
    def play(call: Call) -> Played:
        fixes = call.purpose in {"review", "replan"} or (call.purpose, call.task_id) == ("implement", "T5")
        return script.play(call) if fixes else one_task.play(call)

    gates = '[codexteam.gates]\nenabled = ["ci_runner", "reviewer"]\n'
    world, api = make('[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.limits]\nmax_scouts = 0\n' + gates, play)

    bounded = world.run("run", one_task.GOAL, "--batches", "1")

    assert bounded.code == 3, bounded.err
    assert "as many batches as --batches allows are done, and " in bounded.out
    asked = [request.call.purpose for request in api.requests]
    assert asked.count("review") == 2, "one agent, two turns"
    assert [request.call.task_id for request in api.requests if request.call.purpose == "implement"] == ["T1", "T1"]
    ended = world.run("resume")
    assert ended.code == 0, ended.err
    assert "\\|" in world.git("show", f"{world.branch}:tally/markdown.py")
