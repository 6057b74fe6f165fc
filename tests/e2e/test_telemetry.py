"""A whole run that is killed and resumed, as a real receiver of OpenTelemetry sees it."""

import signal
import sqlite3
from contextlib import closing

import pytest

from tests.e2e import one_task
from tests.e2e.conftest import MakeWorld
from tests.e2e.world import World
from tests.otlp_receiver import Received, collector, values_of

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap, pytest.mark.timeout(200)]

#: While the implementer works.
_KILLED_AFTER_LINES = 36


def _otel(url: str) -> str:
    sent = "".join(
        f'[otel.{key}.otlp-http]\nendpoint = "{url}/v1/{path}"\nprotocol = "binary"\n'
        f'headers = {{ "x-key" = "${{COLLECTOR_KEY}}" }}\n'
        for key, path in (("trace_exporter", "traces"), ("metrics_exporter", "metrics"), ("exporter", "logs"))
    )
    return f'{one_task.TEAM}[otel]\nenvironment = "ci"\n{sent}'


def _stored_tokens(world: World) -> tuple[int, int, int, int]:
    with closing(sqlite3.connect(world.state / "state.sqlite")) as db:
        columns = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
        sums = ", ".join(f"sum({column})" for column in columns)
        return tuple(db.execute(f"SELECT {sums} FROM call WHERE answer IS NOT NULL").fetchone())


def _check_one_tree(received: Received) -> None:
    spans = {span.span_id: span for span in received.spans}
    assert len({span.trace_id for span in spans.values()}) == 1
    roots = [span.name for span in spans.values() if not span.parent_span_id]
    assert roots == ["invoke_workflow codexteam"]
    assert [span.name for span in spans.values() if span.parent_span_id and span.parent_span_id not in spans] == []
    assert all(link.span_id in spans for span in spans.values() for link in span.links)


def test_a_killed_and_resumed_run_is_one_tree_with_all_its_tokens(make: MakeWorld) -> None:
    with collector() as received:
        world, _ = make(_otel(received.url), one_task.play)
        killed = world.run_until(_KILLED_AFTER_LINES, signal.SIGKILL, "run", one_task.GOAL)
        assert killed.code == -signal.SIGKILL, killed.err
        before = len(received.spans)

        ended = world.run("resume", COLLECTOR_KEY="k-123456")

        assert ended.code == 0, ended.out + ended.err
        _check_one_tree(received)
        spans = received.spans
        chats = [
            values_of(span.attributes)
            for span in {s.span_id: s for s in spans}.values()
            if span.name.startswith("chat ")
        ]
        names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")
        assert tuple(sum(int(str(one[f"gen_ai.usage.{name}"])) for one in chats) for name in names) == _stored_tokens(
            world
        )
        operations = {str(values_of(span.attributes).get("gen_ai.operation.name")) for span in spans}
        assert {"invoke_workflow", "invoke_agent", "plan", "chat", "execute_tool"} <= operations
        assert sum(span.name == "workflow_start.codexteam" for span in {s.span_id: s for s in spans}.values()) == 2
        assert len(spans) - before > 5, "the second session sent next to nothing"
        assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= received.metrics.keys()
        assert received.resource["service.name"] == "codexteam"
        assert received.resource["deployment.environment.name"] == "ci"
        assert received.headers[-1]["x-key"] == "k-123456"
        records = received.records
        assert {record.span_id for record in records} <= {span.span_id for span in spans}
        assert {"codexteam.task.merged", "codexteam.run.finished"} <= {record.event_name for record in records}
        sent = b"".join(one.SerializeToString() for one in received.traces)
        sent += b"".join(one.SerializeToString() for one in received.told)
        assert one_task.GOAL.encode() not in sent, "the goal is sent though nobody asked for it"
        assert b"test_markdown" not in sent, "commands are sent though nobody asked for them"
