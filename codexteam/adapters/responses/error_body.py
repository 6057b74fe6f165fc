"""What a server's error says, whatever shape it has: OpenAI's object, FastAPI's list, a bridge's text, a page. Pure."""

import json
import re
from dataclasses import dataclass, field

from codexteam.core.ids import JSONObject, JSONValue

#: Of a server's own words this much is shown.
_MAX_MESSAGE = 600
#: Of a body this much is read for words.
_MAX_READ_BYTES = 65_536

_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
#: Where servers put what is wrong, best first. `metadata.raw` is a gateway's word for what the server behind it said.
_MESSAGE_KEYS = ("message", "detail", "error", "msg", "error_description", "title")


@dataclass(frozen=True, slots=True)
class ServerError:
    """A server's words for why not."""

    code: str = ""
    """Its word for the kind of error; empty where it gives none."""
    message: str = ""
    """One line, not longer than is worth showing."""
    param: str = ""
    """What part of the request it is about, where the server says so."""
    is_page: bool = False
    """It was an HTML page: something stands in front of the API."""
    fields: JSONObject = field(default_factory=dict)
    """The innermost error object."""

    @property
    def codes(self) -> frozenset[str]:
        """Return every word that may name the kind: servers put it into `code` or into `type`."""
        inner = self.fields.get("innererror")
        words = [self.code, self.fields.get("type"), inner.get("code") if isinstance(inner, dict) else None]
        return frozenset(word for word in words if isinstance(word, str) and word)


def read_error(body: bytes) -> ServerError:
    """Read an error's body; a body of no known shape is its own message."""
    text = body[:_MAX_READ_BYTES].decode("utf-8", errors="replace")
    try:
        parsed: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return _from_text(text)
    if isinstance(parsed, list) and len(parsed) == 1:
        (parsed,) = parsed
    if not isinstance(parsed, dict):
        return _from_text(text)
    error = parsed.get("error", parsed.get("detail", parsed))
    return from_object(error if isinstance(error, dict) else {**parsed, "message": error}, otherwise=text)


def from_object(fields: JSONObject, *, otherwise: str = "") -> ServerError:
    """Read an error object; `otherwise` is the message where it has none."""
    code = _word(fields.get("code")) or _word(fields.get("type")) or _word(fields.get("status"))
    message, places = _message_of(fields)
    behind = fields.get("metadata")
    raw = behind.get("raw") if isinstance(behind, dict) else None
    if raw:
        said, more = _text_of(raw)
        message, places = f"{message}: {said}".strip(": "), places + more
    param = _word(fields.get("param")) or ", ".join(places)
    return ServerError(code, clip(message or otherwise), param, fields=fields)


def clip(text: str) -> str:
    """Return a text as one line that is not too long to show."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"


def _from_text(text: str) -> ServerError:
    start = text.lstrip()[:200].lower()
    if not start.startswith(("<!doctype", "<html", "<head", "<body")):
        return ServerError(message=clip(text))
    found = _TITLE.search(text) or _HEADING.search(text)
    title = clip(_TAG.sub(" ", found[1])) if found else ""
    return ServerError(message=f"an HTML page in place of an answer ({title or 'without a title'})", is_page=True)


def _message_of(fields: JSONObject) -> tuple[str, list[str]]:
    for key in _MESSAGE_KEYS:
        value = fields.get(key)
        if value:
            return _text_of(value)
    return "", []


def _text_of(value: JSONValue) -> tuple[str, list[str]]:
    """Return the text of a message that may be an object or a list itself, and the places it speaks of."""
    match value:
        case str():
            inner = _inner_json(value)
            return _text_of(inner) if inner is not None else (value, [])
        case dict():
            loc = value.get("loc")
            place = ".".join(str(part) for part in loc if part != "body") if isinstance(loc, list) else ""
            text, places = _message_of(value)
            if not text:
                text = json.dumps(value)
            return (f"{place}: {text}", [place, *places]) if place else (text, places)
        case list():
            parts = [_text_of(part) for part in value]
            return "; ".join(text for text, _ in parts), [place for _, places in parts for place in places]
        case _:
            return str(value), []


def _inner_json(text: str) -> JSONValue:
    if not text.lstrip().startswith(("{", "[{")):
        return None
    try:
        inner: JSONValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) and inner else None


def _word(value: JSONValue) -> str:
    # some write "None" for nothing, and a status is not a word
    if not isinstance(value, str) or value in {"None", "null"} or value.isdecimal():
        return ""
    return value
