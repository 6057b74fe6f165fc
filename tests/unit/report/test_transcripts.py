"""A transcript's items as people read them, and which agents a name means."""

import json

import pytest

from codexteam.core.ids import JSONObject, JSONValue, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.report.transcripts import EntryKind, agents_in, call_text, entries_of, named_agents


def message(role: str, text: str) -> JSONObject:
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


def test_each_kind_of_item_is_read() -> None:
    items: list[JSONObject] = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look first."}], "encrypted_content": "x"},
        message("assistant", "I look."),
        {"type": "function_call", "name": "exec_command", "call_id": "c1", "arguments": '{"cmd": "ls\\ncat a"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "a.py\n"},
        {"type": "custom_tool_call", "name": "apply_patch", "call_id": "c2", "input": "*** Begin Patch\n+x"},
        {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"query": "csv"}},
        message("user", "Mind the tests."),
    ]

    found = [(entry.kind, entry.name, entry.text) for entry in entries_of(items)]

    assert found == [
        (EntryKind.REASONING, "", "Look first."),
        (EntryKind.SAID, "", "I look."),
        (EntryKind.CALL, "exec_command", "ls\ncat a"),
        (EntryKind.OUTPUT, "", "a.py\n"),
        (EntryKind.CALL, "apply_patch", "*** Begin Patch\n+x"),
        (EntryKind.CALL, "web_search", 'action: {"query": "csv"}'),
        (EntryKind.ASKED, "", "Mind the tests."),
    ]


def test_reasoning_that_is_only_encrypted_is_left_out() -> None:
    assert entries_of([{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}]) == []


def test_a_picture_is_named_by_its_size_and_not_printed() -> None:
    picture: JSONObject = {"type": "input_image", "image_url": "data:" + "x" * 2_000}
    output: list[JSONValue] = [{"type": "input_text", "text": "see"}, picture]
    items: list[JSONObject] = [{"type": "function_call_output", "call_id": "c", "output": output}]

    assert [entry.text for entry in entries_of(items)] == ["see\n[a picture, 2,005 bytes]"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"cmd": "ls", "workdir": "src", "timeout_ms": 5}, "ls\nworkdir: src\ntimeout_ms: 5"),
        ({"command": ["bash", "-lc", "ls -l"]}, "bash -lc 'ls -l'"),
        ({"path": "a.png"}, "path: a.png"),
    ],
)
def test_a_call_is_shown_as_its_command_and_what_else_was_given(arguments: JSONObject, shown: str) -> None:
    assert call_text(json.dumps(arguments)) == shown


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    assert call_text("*** Begin Patch") == "*** Begin Patch"


def started(role: str, purpose: str, task: str, attempt: int) -> RunEvent:
    what = task or purpose
    fields: JSONObject = {"role": role, "purpose": purpose, "task": task, "attempt": attempt}
    return RunEvent("agent.started", 1.0, {"agent": f"{role} {what}.{attempt}", **fields, "effort": "high"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("implementer T1.1", ["implementer T1.1"]),
        ("t1.1", ["implementer T1.1"]),
        ("review.2", ["reviewer review.2"]),
        ("implementer", ["implementer T1.1"]),
        ("reviewer", ["reviewer review.1", "reviewer review.2"]),
        ("T1", []),
    ],
)
def test_an_agent_is_meant_by_its_name_a_part_of_it_or_its_role(name: str, meant: list[str]) -> None:
    facts = [
        started("implementer", "implement", "T1", 1),
        started("reviewer", "review", "", 1),
        started("reviewer", "review", "", 2),
    ]

    assert named_agents(agents_in(RunId("r"), facts), name) == meant


def test_an_agent_of_a_purpose_that_is_not_known_is_left_out() -> None:
    assert agents_in(RunId("r"), [started("poet", "rhyme", "", 1)]) == {}
