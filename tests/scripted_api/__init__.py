"""A Responses API server on loopback that plays a script; what every test that needs a model's wire talks to.

    async with ScriptedApi(lambda call: [message({"answer": 42})]) as api:
        ...  # api.base_url is the provider's base_url, api.requests what was asked

`serve_in_thread` is the same for tests that run a program and wait for it. `python -m tests.scripted_api --script
FILE.json` runs it alone.
"""

from tests.scripted_api.script import (
    Call,
    Drop,
    Fault,
    HttpError,
    Played,
    Raw,
    Reply,
    Reset,
    Script,
    Stall,
    custom_call,
    function_call,
    in_order,
    message,
    reasoning,
    refusal,
    script_from_json,
)
from tests.scripted_api.server import RecordedRequest, ScriptedApi, serve_in_thread

__all__ = [
    "Call",
    "Drop",
    "Fault",
    "HttpError",
    "Played",
    "Raw",
    "RecordedRequest",
    "Reply",
    "Reset",
    "Script",
    "ScriptedApi",
    "Stall",
    "custom_call",
    "function_call",
    "in_order",
    "message",
    "reasoning",
    "refusal",
    "script_from_json",
    "serve_in_thread",
]
