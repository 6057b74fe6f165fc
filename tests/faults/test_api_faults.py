"""What a model's service does wrong, each through a whole run: outlived, or one clear error and a `resume` that continues.

The complete check tries the quickest rows. All of them, with a table printed:
`CODEXTEAM_FAULTS=all pytest -s --complete tests/faults/test_api_faults.py`.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import TypeAlias

import pytest

from codexteam.core.ids import JSONObject, JSONValue
from tests.e2e.world import Ended
from tests.faults.strikes import events_of, in_background, wait_for
from tests.faults.table import ALL, UNTIL_MENDED, Fault, Stage, endure
from tests.scripted_api import Drop, HttpError, Raw, Reply, Reset, Stall, function_call, message, refusal
from tests.scripted_api.script import Call, Played
from tests.scripted_api.wire import event

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

Answer: TypeAlias = Callable[[Call, Sequence[JSONObject]], Played]
Events: TypeAlias = Sequence[bytes]

_LIMIT = "rate_limit_exceeded"
_PLAN = ("", 1)
_ANSWER = ("T4", 3)
_IDLE = ("-c", "model_providers.loopback.stream_idle_timeout_ms=1500")
#: Few tries, so that a service that stays away is given up within seconds.
_IMPATIENT = ("-c", "model_providers.loopback.stream_max_retries=1")
_PAGE = b"<html><body><h1>502 Bad Gateway</h1>\x1b]0;owned\x07 nginx</body></html>"
_ODD_EVENTS = (event("response.telepathy.delta", {"delta": 1}), b": hm\n\n", b"id: 3\nretry: 5\n\n")


def _mangled(change: Callable[[Events], Events]) -> Answer:
    """Answer as always, with other bytes."""
    return lambda _, items: Reply(items=tuple(items), mangled=change)


def _with_usage(usage: JSONValue) -> Answer:
    """Answer as always, with another bill."""
    return lambda _, items: Reply(items=tuple(items), told_usage=usage)


def _counts(tokens_in: JSONValue, tokens_out: JSONValue) -> JSONObject:
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": 0}


def _cut_json(events: Events) -> Events:
    return [*events[:-1], events[-1][: len(events[-1]) // 2] + b"\n\n"]


def _bad_utf8(events: Events) -> Events:
    return [one.replace(b"is done", b"is \xff\xfe\xc3\xed\xa0\x80 done") for one in events]


def _first_try_cut(call: Call, items: Sequence[JSONObject]) -> Played:
    return Reply(items=tuple(items), end="incomplete", reason="max_output_tokens")


def _in_two_seconds(_: Call, __: Sequence[JSONObject]) -> Played:
    return HttpError(429, _LIMIT, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})


def _storm(call: Call, items: Sequence[JSONObject]) -> Played:
    """Refuse every call twice."""
    return HttpError(429, _LIMIT, headers={"retry-after-ms": "100"}) if call.tries <= 2 else list(items)


def _refused_metadata(call: Call, items: Sequence[JSONObject]) -> Played:
    metadata = call.body["metadata"]
    if isinstance(metadata, dict) and "guessed" not in metadata:
        return HttpError(400, "unknown_parameter", "Unknown parameter: 'metadata'.")
    return list(items)


def _strict(call: Call, items: Sequence[JSONObject]) -> Played:
    """Refuse the first field that chat completions do not have."""
    unknown = sorted(
        set(call.body) & {"prompt_cache_key", "include", "store", "parallel_tool_calls", "text", "reasoning"}
    )
    return HttpError(422, message=f"body.{unknown[0]}: Extra inputs are not permitted") if unknown else list(items)


def _told_once(*parts: str) -> Callable[[Stage, Ended], list[str]]:
    def look(stage: Stage, _: Ended) -> list[str]:
        notices = [str(notice["text"]) for notice in events_of(stage, "notice")]
        counts = {part: sum(f"`{part}`" in notice for notice in notices) for part in parts}
        return [f"{part} was told {count} times" for part, count in counts.items() if count != 1]

    return look


def _fails_for_one_attempt(call: Call, items: Sequence[JSONObject]) -> Played:
    return HttpError(500) if call.attempt == 1 else list(items)


def _same_call_twice(_: Call, items: Sequence[JSONObject]) -> Played:
    once = function_call("exec_command", {"cmd": "echo once >> out/../again"}, call_id="same")
    again = function_call("exec_command", {"cmd": "cat again; rm -f again"}, call_id="other")
    return [once, {**once, "id": "fc_other"}, again]


def _waited(stage: Stage, _: Ended) -> list[str]:
    waits = [str(waiting.get("wait_seconds")) for waiting in events_of(stage, "agent.waiting")]
    return [] if any(float(seconds) >= 0.9 for seconds in waits) else [f"it waited {waits}"]


def _told_the_model(*words: str) -> Callable[[Stage, Ended], list[str]]:
    def look(stage: Stage, _: Ended) -> list[str]:
        said = json.dumps([request.call.input for request in stage.api.requests if request.call.task_id == "T4"])
        return [f"the model was not told {word!r}" for word in words if word not in said]

    return look


def _once_more(stage: Stage, _: Ended) -> list[str]:
    """The attempt failed, and the next one did it."""
    attempts = {request.call.attempt for request in stage.api.requests if request.call.task_id == "T4"}
    return [] if attempts == {1, 2} else [f"attempts {attempts}"]


@contextmanager
def _down_until_asked(stage: Stage) -> Iterator[None]:
    """Let nobody listen until the command has tried once."""
    stage.api.take_down()

    def come_back() -> None:
        wait_for(lambda: any((stage.world.state / "runs").glob("*/events.jsonl")), "events.jsonl")
        wait_for(lambda: bool(events_of(stage, "agent.waiting")), "a try that failed")
        stage.api.bring_back()

    in_background(stage, come_back)
    yield


def _go_away(stage: Stage) -> None:
    # not here: the server's own thread must stay free to close what it has just taken
    in_background(stage, stage.api.take_down)


FAULTS = (
    Fault(name="429, Retry-After in seconds", answer=HttpError(429, _LIMIT, headers={"Retry-After": "1"}), also=_waited),
    Fault(name="429, Retry-After as a date", answer=_in_two_seconds, also=_waited),
    Fault(name="429 without a header, three times", answer=HttpError(429, _LIMIT), times=3),
    Fault(name="429, only its text says how long", answer=HttpError(429, _LIMIT, "Please try again in 1s."), also=_waited),
    Fault(name="a storm of 429: every call is refused twice", answer=_storm, call=None, times=UNTIL_MENDED, short=True),
    Fault(name="500", answer=HttpError(500)),
    Fault(
        name="500 for one task alone, for good", answer=_fails_for_one_attempt, times=UNTIL_MENDED, options=_IMPATIENT,
        also=_once_more,
    ),
    Fault(
        name="500 for everybody, for good", answer=HttpError(500), call=None, times=UNTIL_MENDED, options=_IMPATIENT,
        code=6, says="no answer",
    ),
    Fault(name="502 with a proxy's HTML page", answer=Raw(_PAGE, "text/html", 502)),
    Fault(name="503 with Retry-After", answer=HttpError(503, headers={"Retry-After": "1"}), also=_waited),
    Fault(name="529", answer=HttpError(529, "overloaded_error")),
    Fault(name="408", answer=HttpError(408)),
    Fault(name="200 with a proxy's HTML page", answer=Raw(_PAGE, "text/html")),
    Fault(name="200 with JSON that is not a stream", answer=Raw(b'{"output": []}', "application/json")),
    Fault(
        name="401 in the middle", answer=HttpError(401, "invalid_api_key"), times=UNTIL_MENDED, code=6, says="key",
    ),
    Fault(name="403 in the middle", answer=HttpError(403), times=UNTIL_MENDED, code=6, says="403"),
    Fault(name="no such model", answer=HttpError(404, "model_not_found"), times=UNTIL_MENDED, code=6, says="model"),
    Fault(name="quota gone", answer=HttpError(429, "insufficient_quota"), times=UNTIL_MENDED, code=6, says="quota"),
    Fault(
        name="redirected elsewhere", answer=HttpError(307, headers={"Location": "http://127.0.0.1:1/"}),
        times=UNTIL_MENDED, code=6, says="redirected",
    ),
    Fault(
        name="400: the service takes no metadata", answer=_refused_metadata, call=None, times=UNTIL_MENDED,
        also=_told_once("metadata"),
    ),
    Fault(
        name="400: one field after the other is refused", answer=_strict, call=None, times=UNTIL_MENDED,
        also=_told_once("prompt_cache_key", "include", "store"), short=True,
    ),
    Fault(name="405 for good", answer=HttpError(405), call=None, times=UNTIL_MENDED, code=6, says="base_url"),
    Fault(name="501 for good", answer=HttpError(501), call=None, times=UNTIL_MENDED, code=6, says="base_url"),
    Fault(
        name="a usage limit is reached", answer=HttpError(429, "usage_limit_reached"), times=UNTIL_MENDED, code=4,
        says="usage limit",
    ),
    Fault(name="403 with a page of the gate in front", answer=Raw(_PAGE, "text/html", 403)),
    Fault(
        name="400: the context is too long", answer=HttpError(400, "context_length_exceeded"), call=_ANSWER,
        usage_known=False,
    ),
    Fault(name="400: a request is refused for good, once", answer=HttpError(400, "invalid_value"), also=_once_more),
    Fault(name="reset before the headers", answer=Reset()),
    Fault(name="cut in the middle of an item", answer=Drop(mid_item=True), short=True),
    Fault(name="cut after the last item", answer=Drop()),
    Fault(name="ended without response.completed", answer=Drop(clean=True)),
    Fault(name="silence before the headers", answer=Stall(headers_sent=False), options=_IDLE),
    Fault(name="silence in the middle of the stream", answer=Stall(), options=_IDLE),
    Fault(name="nothing but keep-alive comments", answer=Stall(comment_seconds=0.2), options=_IDLE),
    Fault(name="JSON that is cut", answer=_mangled(_cut_json)),
    Fault(name="text that is not UTF-8", answer=_mangled(_bad_utf8), call=_ANSWER),
    Fault(name="events in the wrong order", answer=_mangled(lambda events: [*reversed(events[:-1]), events[-1]])),
    Fault(name="the end event comes first", answer=_mangled(lambda events: [events[-1], *events[:-1]])),
    Fault(name="every event twice", answer=_mangled(lambda events: [one for one in events for _ in range(2)]), short=True),
    Fault(name="unknown events", answer=lambda _, items: Reply(items=tuple(items), extra_events=_ODD_EVENTS)),
    Fault(name="response.incomplete: too long", answer=_first_try_cut),
    Fault(
        name="response.incomplete: filtered", answer=Reply(end="incomplete", reason="content_filter"), also=_once_more
    ),
    Fault(name="response.failed", answer=Reply(items=(message("x"),), end="failed", reason="server_error")),
    Fault(
        name="an error event", answer=Raw(b'event: error\ndata: {"code": "server_error", "message": "busy"}\n\n')
    ),
    Fault(
        name="no usage at all", answer=lambda _, items: Reply(items=tuple(items), usage=False), usage_known=False,
        call=None, times=UNTIL_MENDED,
    ),
    Fault(name="a usage below nothing", answer=_with_usage(_counts(-5, -7)), usage_known=False),
    Fault(name="a usage that is text", answer=_with_usage(_counts("many", None)), usage_known=False),
    Fault(
        name="a usage beyond any budget", answer=_with_usage(_counts(10**15, 10**15)), usage_known=False, code=4,
        options=("-c", "codexteam.budget.run_tokens=50000000"),
        later=("-c", f"codexteam.budget.run_tokens={10**17}"), says="budget",
    ),
    Fault(name="a usage beyond 64 bits", answer=_with_usage(_counts(10**30, 1)), usage_known=False),
    Fault(name="an answer that does not fit, once", answer=[message("Done!")], call=_ANSWER),
    Fault(name="an answer that does not fit, again and again", answer=[message({"status": "fine"})], call=None,
          times=UNTIL_MENDED, code=3, later=()),
    Fault(name="a refusal", answer=[refusal("I won't.")], also=_once_more),
    Fault(name="an empty answer", answer=[], call=_ANSWER),
    Fault(name="an unknown tool", answer=[function_call("browse", {"x": 1})], also=_told_the_model("no tool")),
    Fault(name="arguments that are not JSON", answer=[function_call("exec_command", '{"cmd": "l')],
          also=_told_the_model("not valid JSON")),
    Fault(name="arguments of another shape", answer=[function_call("exec_command", {"cmd": {"a": [1]}})]),
    Fault(name="one call under one id twice", answer=_same_call_twice, also=_told_the_model("once")),
    Fault(name="an answer of 8 MB", answer=[message("y" * (8 << 20))], call=_ANSWER),
    Fault(name="arguments of 8 MB", answer=[function_call("exec_command", {"cmd": "true " + "y" * (8 << 20)})]),
    Fault(name="an item without end", answer=lambda _, __: Reply(items=[message("y" * (40 << 20))]), also=_once_more),
    Fault(name="a plan that is none", answer=[message({"summary": "no"})], call=_PLAN),
    Fault(name="the service is down at first and comes back", around=_down_until_asked, short=True),
    Fault(
        name="the service goes away for good", strike=_go_away, answer=Reset(), options=_IMPATIENT, code=6, times=UNTIL_MENDED,
        mend=lambda stage: stage.api.bring_back(), says="no answer", short=True,
    ),
)  # fmt: skip


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS if ALL or fault.short])
def test_a_fault_of_the_service_is_outlived_or_one_clear_error(tmp_path: Path, fault: Fault) -> None:
    assert endure(tmp_path, fault).found == []
