"""A run as Harbor's trajectory: agents are embedded, steps are numbered, costs add up."""

import json
from typing import Any

import pytest

from codexteam.agent.prefix import Prompt
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject
from codexteam.report.atif import AtifAgent, AtifRun, AtifTurn, tokens_by_model, trajectory

CALL: JSONObject = {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": '{"cmd": "ls"}'}
OUTPUT: JSONObject = {"type": "function_call_output", "call_id": "c1", "output": "a.py"}
THOUGHT: JSONObject = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "look first"}]}


def said(text: str, role: str = "assistant") -> JSONObject:
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


def run(*turns: AtifTurn, usd: float | None = 0.5) -> Any:
    prompt = Prompt("be good", ("the facts",), "do T1")
    agent = AtifAgent("implementer T1.1", "gpt-5.4", "high", "Submitted", 2.0, prompt, turns)
    silent = AtifAgent("reviewer 1", "", "", "", 3.0, None)
    usage = Usage(100, 40, 10)
    return trajectory(AtifRun("r1", "a goal \ud800", 1.0, "0.1", "green", "all passed", (agent, silent), usage, usd))


TURN = AtifTurn((THOUGHT, CALL), (OUTPUT, said("hurry", "user")), Usage(100, 40, 10), 0.5, 2.5)


def test_each_agent_is_embedded_and_referred_to_once() -> None:
    found = run(TURN)

    names = [one["trajectory_id"] for one in found["subagent_trajectories"]]
    referred = [
        ref["trajectory_id"]
        for step in found["steps"]
        for result in step.get("observation", {}).get("results", [])
        for ref in result["subagent_trajectory_ref"]
    ]
    assert referred == names == ["r1/implementer T1.1", "r1/reviewer 1"]
    assert found["schema_version"] == "ATIF-v1.8"


def test_steps_are_numbered_and_only_agents_have_what_agents_have() -> None:
    found = run(TURN)

    for one in (found, *found["subagent_trajectories"]):
        assert [step["step_id"] for step in one["steps"]] == list(range(1, len(one["steps"]) + 1))
        assert one["final_metrics"]["total_steps"] == len(one["steps"])
        for step in one["steps"]:
            own = {"tool_calls", "metrics", "reasoning_content", "reasoning_effort"} & step.keys()
            assert not own or (step["source"] == "agent" and step["llm_call_count"] == 1)
    json.dumps(found).encode("utf-8")


def test_a_turn_has_its_calls_results_thoughts_and_cost() -> None:
    *asked, step, put_in = run(TURN)["subagent_trajectories"][0]["steps"]

    assert [one["message"] for one in asked] == ["be good", "the facts", "do T1"]
    assert step["tool_calls"] == [{"tool_call_id": "c1", "function_name": "exec_command", "arguments": {"cmd": "ls"}}]
    assert step["observation"]["results"] == [{"source_call_id": "c1", "content": "a.py"}]
    assert step["reasoning_content"] == "look first"
    assert step["metrics"] == {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 40, "cost_usd": 0.5}
    assert step["timestamp"] == "1970-01-01T00:00:02.500000Z"
    assert (put_in["source"], put_in["message"]) == ("user", "hurry")


def test_a_custom_tool_s_text_is_its_input() -> None:
    patch: JSONObject = {"type": "custom_tool_call", "call_id": "p", "name": "apply_patch", "input": "*** Begin Patch"}

    *_, step = run(AtifTurn((patch,), ()))["subagent_trajectories"][0]["steps"]

    assert step["tool_calls"][0]["arguments"] == {"input": "*** Begin Patch"}
    assert "metrics" not in step


def test_an_unknown_price_is_no_price() -> None:
    found = run(AtifTurn((said("x"),), (), Usage(1, 0, 1), None), usd=None)

    assert "total_cost_usd" not in found["final_metrics"]
    assert tokens_by_model(found) == {"gpt-5.4": {"prompt": 1, "cached": 0, "completion": 1, "usd": None}}
    assert tokens_by_model(run(TURN))["gpt-5.4"]["usd"] == 0.5


def test_harbor_takes_it_for_valid() -> None:
    harbor = pytest.importorskip("harbor.models.trajectories", reason="harbor is not installed")

    harbor.Trajectory.model_validate(run(TURN))
