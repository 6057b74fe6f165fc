"""The body of a request to the Responses API, in the API's terms. Pure."""

import hashlib
import json

from codexteam.core.ids import JSONObject
from codexteam.ports.model import ModelRequest

#: What the API takes of a cache key and of a metadata value.
_MAX_CACHE_KEY = 64
_MAX_METADATA_VALUE = 512
#: codexteam's and Codex's names for what the API calls otherwise.
_EFFORTS = {"ultra": "xhigh"}
#: Whoever says this wants a model that does not think: nothing is said of reasoning.
_NO_EFFORT = "none"
_SERVICE_TIERS = {"fast": "priority"}


def request_body(request: ModelRequest, *, send_metadata: bool) -> JSONObject:
    """Return the body of a request, in the API's terms."""
    settings = request.settings
    body: JSONObject = {"model": settings.model, "stream": True, "store": False}
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = list(request.tools)
        body["tool_choice"] = "auto"
        body["parallel_tool_calls"] = True
    reasoning: JSONObject = {}
    thinks = settings.effort != _NO_EFFORT
    if settings.effort and thinks:
        reasoning["effort"] = _EFFORTS.get(settings.effort, settings.effort)
    if settings.summary and thinks:
        reasoning["summary"] = settings.summary
    if reasoning:
        body["reasoning"] = reasoning
    if thinks:
        body["include"] = ["reasoning.encrypted_content"]
    text = _text(request)
    if text:
        body["text"] = text
    if settings.service_tier:
        body["service_tier"] = _SERVICE_TIERS.get(settings.service_tier, settings.service_tier)
    if request.prompt_cache_key:
        body["prompt_cache_key"] = _cache_key(request.prompt_cache_key)
    body["max_output_tokens"] = (
        settings.max_output_tokens if request.max_output_tokens is None else request.max_output_tokens
    )
    # items of earlier answers go back whole, ids and encrypted reasoning included, as Codex sends them
    body["input"] = list(request.input)
    if send_metadata:
        metadata = request.key.metadata()
        body["metadata"] = {name: value[:_MAX_METADATA_VALUE] for name, value in metadata.items()}
    return body


def as_sent(body: JSONObject) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def _text(request: ModelRequest) -> JSONObject:
    text: JSONObject = {}
    if request.settings.verbosity:
        text["verbosity"] = request.settings.verbosity
    if request.output_schema is not None:
        text["format"] = {
            "type": "json_schema",
            "name": request.output_schema.name,
            "strict": True,
            "schema": request.output_schema.schema,
        }
    return text


def _cache_key(key: str) -> str:
    return key if len(key) <= _MAX_CACHE_KEY else hashlib.sha256(key.encode()).hexdigest()
