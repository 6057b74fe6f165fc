"""A run's facts as spans of one trace."""

import json

from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.spans import RunSpan, SpanReader

RUN = "20261121-0231-7f3a"
USAGE: JSONObject = {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 9, "reasoning_tokens": 4}


def agent(task: str, **more: object) -> JSONObject:
    fields = {"agent": f"implementer {task}.1", "role": "implementer", "purpose": "implement", "task": task}
    return {**fields, "attempt": 1, "model": "gpt-5.4", **more}  # type: ignore[dict-item]  # JSON values


def call(task: str = "T1", name: str = "call_1") -> JSONObject:
    return agent(task, tool="exec_command", call=name, action="pytest -q secret_test.py")


def turn(task: str = "T1", number: int = 1, **more: object) -> JSONObject:
    return agent(task, turn=number, usage=USAGE, usd=0.5, credits=1.0, seconds=2.0, **more)


OPENED: JSONObject = {"run": RUN, "goal": "Keep the recipe secret.", "budget": ""}
DONE: JSONObject = {"result": "green", "reason": "every gate passed", "exit_code": 0}

#: Two tasks, one after the other; the session is killed while an agent works on the second, and another one ends it.
STORY: list[tuple[float, str, JSONObject]] = [
    (100.0, "run.opened", OPENED),
    (101.0, "task.added", {"task": "T1", "deps": []}),
    (101.0, "task.added", {"task": "T2", "deps": ["T1"]}),
    (102.0, "agent.started", agent("T1")),
    (105.0, "agent.turn", turn()),
    (105.0, "agent.acted", call()),
    (107.0, "agent.tool_finished", {"agent": "implementer T1.1", "call": "call_1", "failed": True}),
    (109.0, "agent.turn", turn(number=2)),
    (110.0, "agent.finished", agent("T1", outcome="Submitted", turns=2)),
    (110.0, "task.accepted", {"task": "T1", "attempt": 1}),
    (111.0, "task.merging", {"task": "T1", "attempt": 1}),
    (113.0, "task.merged", {"task": "T1", "attempt": 1}),
    (114.0, "agent.started", agent("T2")),
    (117.0, "agent.turn", turn("T2")),
    (118.0, "agent.acted", call("T2")),
    (500.0, "agent.unanswered", agent("T2", turn=2, counted={"tokens": 900, "usd": 1.0})),
    (501.0, "run.opened", OPENED),
    (502.0, "agent.started", agent("T2")),
    (504.0, "agent.turn", turn("T2", 2)),
    (505.0, "agent.finished", agent("T2", outcome="Submitted", turns=2)),
    (506.0, "gate.started", {"gate": "reviewer", "round": 1, "commit": "c"}),
    (507.0, "gate.completed", {"gate": "reviewer", "verdict": "block", "findings": 2, "note": "The secret leaks."}),
    (508.0, "run.finished", DONE),
]


def facts(story: list[tuple[float, str, JSONObject]] = STORY) -> list[RunEvent]:
    return [RunEvent(kind, at, fields, number) for number, (at, kind, fields) in enumerate(story, start=1)]


def read(found: list[RunEvent], *, with_content: bool = False) -> list[RunSpan]:
    reader = SpanReader(RUN, providers={}, provider="openai", with_content=with_content)
    return [span for fact in found for span in reader.take(fact)]


def named(spans: list[RunSpan], name: str) -> list[RunSpan]:
    return [span for span in spans if span.name == name]


def test_all_spans_of_a_resumed_run_are_one_tree_each_given_once() -> None:
    spans = read(facts())

    known = {span.span_id for span in spans}
    assert len(known) == len(spans)
    first, second = named(spans, "invoke_workflow codexteam")
    assert [span for span in spans if not span.parent_id] == [first]
    assert {span.parent_id for span in spans} - {0} <= known
    assert second.parent_id == first.span_id
    assert {link.span_id for span in spans for link in span.links} <= known


def test_reading_the_facts_again_gives_the_same_spans() -> None:
    assert read(facts()) == read(facts())
    other = SpanReader("20261121-0231-0000", providers={}, provider="openai")
    assert other.trace_id != SpanReader(RUN, providers={}, provider="openai").trace_id


def test_a_session_is_seen_while_it_lasts() -> None:
    [begun] = read(facts()[:1])

    assert (begun.name, begun.start_seconds, begun.end_seconds) == ("workflow_start.codexteam", 100.0, 100.0)


def test_a_call_has_its_tokens_money_and_time_and_its_agent_the_sums() -> None:
    spans = read(facts())
    one, two = (span for span in named(spans, "chat gpt-5.4") if span.sequence < 10)
    worker = named(spans, "invoke_agent implementer")[0]

    assert (one.start_seconds, one.end_seconds, one.is_call) == (103.0, 105.0, True)
    assert one.parent_id == two.parent_id == worker.span_id
    assert one.values["gen_ai.usage.input_tokens"] == 100
    assert one.values["gen_ai.usage.cache_read.input_tokens"] == 60
    assert one.values["gen_ai.usage.reasoning.output_tokens"] == 4
    assert (one.values["codexteam.cost.usd"], one.values["gen_ai.provider.name"]) == (0.5, "openai")
    assert (worker.values["gen_ai.usage.output_tokens"], worker.values["codexteam.cost.usd"]) == (18, 1.0)
    assert worker.error == ""


def test_an_unknown_price_is_left_out_and_is_not_zero() -> None:
    story = [*STORY[:4], (105.0, "agent.turn", turn() | {"usd": None}), *STORY[8:9]]
    spans = read(facts(story))

    assert all("codexteam.cost.usd" not in span.values for span in spans if span.name != "invoke_workflow codexteam")


def test_a_call_without_a_usage_says_what_the_budget_counts() -> None:
    story = [*STORY[:4], (105.0, "agent.turn", turn() | {"usage": None, "counted": {"tokens": 700, "usd": 0.1}})]
    [chat] = named(read(facts(story)), "chat gpt-5.4")

    assert chat.values["codexteam.usage.counted_tokens"] == 700
    assert "gen_ai.usage.input_tokens" not in chat.values


def test_a_tool_call_lasts_until_it_is_done() -> None:
    tool = named(read(facts()), "execute_tool exec_command")[0]

    assert (tool.start_seconds, tool.end_seconds, tool.error) == (105.0, 107.0, "tool_error")
    assert tool.values["gen_ai.tool.call.id"] == "call_1"


def test_what_was_killed_ends_when_it_was_last_seen() -> None:
    spans = read(facts())
    cut = [span for span in spans if span.error == "killed"]

    assert [span.name for span in cut] == [
        "invoke_agent implementer",
        "execute_tool exec_command",
        "invoke_workflow codexteam",
    ]
    assert {span.end_seconds for span in cut} == {118.0}
    assert [note.name for note in cut[0].notes] == ["codexteam.unanswered"]


def test_agents_link_to_what_they_depend_on_and_continue() -> None:
    done, cut, again = named(read(facts()), "invoke_agent implementer")

    assert [(link.span_id, link.why) for link in cut.links] == [(done.span_id, "depends_on")]
    assert [(link.span_id, link.why) for link in again.links] == [
        (cut.span_id, "continues"),
        (done.span_id, "depends_on"),
    ]


def test_a_merge_lasts_from_the_hand_in_and_says_what_came_of_it() -> None:
    [merge] = named(read(facts()), "merge T1")

    assert (merge.start_seconds, merge.end_seconds, merge.values["codexteam.outcome"]) == (110.0, 113.0, "merged")
    assert [note.name for note in merge.notes] == ["codexteam.merging"]


def test_a_gate_is_an_evaluation() -> None:
    [gate] = named(read(facts()), "gate reviewer")

    [judged] = gate.notes
    assert judged.name == "gen_ai.evaluation.result"
    assert judged.values == {
        "gen_ai.evaluation.name": "reviewer",
        "gen_ai.evaluation.score.value": 0.0,
        "gen_ai.evaluation.score.label": "block",
        "codexteam.findings": 2,
    }
    assert gate.error == ""


def test_planning_and_waiting_for_a_person_are_spans() -> None:
    planner = agent("") | {"agent": "orchestrator plan.1", "role": "orchestrator", "purpose": "plan"}
    story: list[tuple[float, str, JSONObject]] = [
        *STORY[:1],
        (101.0, "agent.started", planner),
        (103.0, "agent.finished", planner | {"outcome": "GaveUp"}),
        (104.0, "person.asked", {"item": "plan", "question": "Work on the secret?"}),
        (105.0, "run.finished", {"result": "waiting", "reason": "", "exit_code": 5}),
    ]
    spans = read(facts(story))

    [plan], [wait] = named(spans, "plan orchestrator"), named(spans, "wait for person")
    assert plan.error == "GaveUp"
    assert (wait.start_seconds, wait.end_seconds, wait.error) == (104.0, 105.0, "")
    assert named(spans, "invoke_workflow codexteam")[0].error == ""


def test_what_people_and_models_wrote_is_sent_only_if_asked_for() -> None:
    def words(spans: list[RunSpan]) -> str:
        notes = [dict(note.values) for span in spans for note in span.notes]
        return json.dumps([[dict(span.values) for span in spans], notes])

    assert "secret" not in words(read(facts()))
    told = words(read(facts(), with_content=True))
    assert all(text in told for text in ("recipe secret", "secret_test.py", "The secret leaks."))
