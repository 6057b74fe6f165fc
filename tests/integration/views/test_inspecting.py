"""`show AGENT`, `show TASK --transcript`, `show --receipt` and `artifacts`, on a real state file."""

import asyncio
import json

from codexteam.agent.prefix import Prompt
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.ports.model import AnsweredCall, CallRecord, ModelAnswer
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import StoredAnswer, StoredTurn
from codexteam.run.kept_prompts import PromptKeeper
from tests.integration.views.conftest import Cli, Project, green_world

RUN = RunId("20261118-1106-aaaa")
AGENT = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
FIELDS: JSONObject = {
    "agent": str(AGENT),
    "role": "implementer",
    "purpose": "implement",
    "task": "T1",
    "attempt": 1,
    "model": "gpt-5.4",
}
EVIL = "\x1b]52;c;aGk=\x07"


def record_agent(project: Project) -> None:
    """A green run, in which one agent has taken a turn and has answered."""
    turn: JSONObject = {**FIELDS, "turn": 1, "usage": None, "usd": 0.25, "credits": 0.0}
    project.record(
        RUN,
        green_world("T1").history,
        state="green",
        extra=[
            ("agent.started", {**FIELDS, "effort": "high"}),
            ("agent.turn", turn),
            ("agent.finished", {**FIELDS, "outcome": "Submitted", "reason": "", "turns": 2}),
        ],
    )
    calls: tuple[JSONObject, ...] = (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look first."}]},
        {"type": "function_call", "name": "exec_command", "call_id": "c", "arguments": json.dumps({"cmd": "cat a"})},
    )
    said: JSONObject = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]}
    output: JSONObject = {"type": "function_call_output", "call_id": "c", "output": f"line {EVIL}\n" * 300}

    async def write() -> None:
        store = project.store()
        PromptKeeper(store, str).keep(AGENT, Prompt("Be good.", ("AGENTS.md says hi.",), "Do T1."))
        for number, items in enumerate((calls, (said,)), start=1):
            end = ModelAnswer(items, Usage(1000, 500, 20, 0))
            answer = AnsweredCall(end, CallRecord("gpt-5.4"))
            await store.record_answer(StoredAnswer(CallKey(AGENT, number, AGENT.purpose), "h", answer, end.usage))
        await store.record_turn(StoredTurn(AGENT, 1, (output,)), [RunEvent("agent.acted", 1.0, FIELDS)])
        await store.put(f"{RUN}/receipts", "implementer/implement/T1/1", {"role": "implementer", "description": "d"})
        await store.close()

    asyncio.run(write())


def test_an_agent_is_shown_whole_and_in_order(project: Project, cli: Cli) -> None:
    record_agent(project)

    done = cli("show", "T1.1")

    assert done.code == 0
    assert "\x1b" not in done.out
    order = ["Be good.", "AGENTS.md says hi.", "Do T1.", "Look first.", "called exec_command", "cat a", "Done."]
    places = [done.out.index(text) for text in order]
    assert places == sorted(places)
    assert done.out.count("line \\x1b]52") == 300
    assert done.out.startswith("implementer T1.1, implement: gpt-5.4, high effort\n")
    assert done.out == cli("show", "T1", "--transcript").out


def test_a_transcript_in_json_has_each_turn(project: Project, cli: Cli) -> None:
    record_agent(project)

    agent, last = map(json.loads, cli("show", "implementer T1.1", "--json").out.splitlines())

    assert [turn["turn"] for turn in agent["turns"]] == [1, 2]
    assert [entry["kind"] for entry in agent["turns"][0]["entries"]] == ["reasoning", "call", "output"]
    assert (agent["usd"], agent["effort"], last["type"]) == (0.25, "high", "show.completed")


def test_a_name_that_means_nothing_lists_the_agents(project: Project, cli: Cli) -> None:
    record_agent(project)

    done = cli("show", "T1.2")

    assert done.code == 2
    assert "no task and no agent is called 'T1.2'; agents: implementer T1.1" in done.err
    assert "did you mean T1.1?" in done.err


def test_a_receipt_is_shown_for_an_agent(project: Project, cli: Cli) -> None:
    record_agent(project)

    assert cli("show", "T1.1", "--receipt").out.startswith("implementer\n  d\n")


def test_artifacts_are_listed_with_whole_paths(project: Project, cli: Cli) -> None:
    record_agent(project)
    folder = project.state / "runs" / RUN
    for name in ("report.html", "release-notes.md", "environment/k.log", "tasks/T1/1/turn-3.pack", "base/internal.tar"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * 1_200)
    (project.root / "plan.md").write_text(f"# Plan\n<!-- codexteam run {RUN} -->\n")

    done = cli("artifacts")

    kinds = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert kinds == ["plan", "report", "notes", "history", "snapshot", "log", "receipt"]
    assert f"  {folder}/tasks/T1/1/turn-3.pack\n" in done.out
    assert "T1.1, turn 3" in done.out
    assert "salvage --export" in done.err
    lines = [json.loads(line) for line in cli("artifacts", RUN, "--json").out.splitlines()]
    assert {"type": "artifacts.completed", "count": 7, "folder": str(folder)} == lines[-1]
    assert lines[1]["bytes"] == 1_200
