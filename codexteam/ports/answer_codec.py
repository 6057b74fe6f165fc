"""A call's end as JSON and back: what the store keeps and what a recording holds."""

from typing import cast

from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.usage import Usage
from codexteam.errors import StoreError, StoreVersionError
from codexteam.ports.model import Answered, CallEnd, CallFailed, ContextExceeded, CutShort, FailureKind

#: Of this form. A reader accepts its own version and older ones.
ANSWER_VERSION = 1


def encode_answer(end: CallEnd) -> JSONObject:
    """Give a call's end as JSON, with the version of its form."""
    return {"version": ANSWER_VERSION, **_fields(end)}


def _fields(end: CallEnd) -> JSONObject:
    match end:
        case Answered(items=items, usage=usage, response_id=response_id, refusal=refusal):
            return {
                "end": "answered",
                "items": list(items),
                "usage": encode_usage(usage),
                "response_id": response_id,
                "refusal": refusal,
            }
        case CutShort(reason=reason, items=items, usage=usage):
            return {"end": "cut_short", "reason": reason, "items": list(items), "usage": encode_usage(usage)}
        case ContextExceeded(message=message, usage=usage, may_be_billed=may_be_billed):
            return {
                "end": "context_exceeded",
                "message": message,
                "usage": encode_usage(usage),
                "may_be_billed": may_be_billed,
            }
        case CallFailed(kind=kind, message=message, usage=usage, may_be_billed=may_be_billed):
            return {
                "end": "failed",
                "kind": kind.value,
                "message": message,
                "usage": encode_usage(usage),
                "may_be_billed": may_be_billed,
            }


def decode_answer(value: JSONObject) -> CallEnd:
    """Give the call's end that `encode_answer` was given.

    Raises:
        StoreVersionError: a newer codexteam wrote it.
        StoreError: it is not what `encode_answer` writes.
    """
    version = value.get("version")
    if isinstance(version, int) and version > ANSWER_VERSION:
        raise StoreVersionError(
            f"a stored answer has version {version}; this codexteam reads versions up to {ANSWER_VERSION}",
            hint="use the codexteam that wrote it, or a newer one",
        )
    try:
        return _decode(value)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"a stored answer cannot be read: {type(error).__name__}: {error}",
            hint="the file is damaged or was written by another program",
        ) from error


def _decode(value: JSONObject) -> CallEnd:
    match value["end"]:
        case "answered":
            return Answered(
                items=_items(value["items"]),
                usage=decode_usage(value["usage"]),
                response_id=_text(value["response_id"]),
                refusal=None if value["refusal"] is None else _text(value["refusal"]),
            )
        case "cut_short":
            return CutShort(_text(value["reason"]), _items(value["items"]), decode_usage(value["usage"]))
        case "context_exceeded":
            return ContextExceeded(_text(value["message"]), decode_usage(value.get("usage")), _may_be_billed(value))
        case "failed":
            return CallFailed(
                FailureKind(_text(value["kind"])),
                _text(value["message"]),
                decode_usage(value["usage"]),
                _may_be_billed(value),
            )
        case other:
            raise ValueError(f"unknown end {other!r}")


def encode_usage(usage: Usage | None) -> JSONObject | None:
    """Give a usage as JSON; a missing one stays missing."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def decode_usage(value: JSONValue) -> Usage | None:
    """Give the usage that `encode_usage` was given.

    Raises:
        TypeError: it is no usage.
        KeyError: a count is missing.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError(f"a usage is an object, not {type(value).__name__}")
    return Usage(
        input_tokens=_count(value["input_tokens"]),
        cached_input_tokens=_count(value["cached_input_tokens"]),
        output_tokens=_count(value["output_tokens"]),
        reasoning_tokens=_count(value["reasoning_tokens"]),
    )


def _may_be_billed(value: JSONObject) -> bool:
    # what older versions wrote does not say
    return value.get("may_be_billed") is True


def _items(value: JSONValue) -> tuple[JSONObject, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("items are a list of objects")
    return tuple(cast("list[JSONObject]", value))


def _text(value: JSONValue) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {type(value).__name__}")
    return value


def _count(value: JSONValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected a whole number, found {type(value).__name__}")
    return value
