"""Which optional parts of a request an error is about, in every server's words. Pure."""

import re

from codexteam.adapters.responses.error_body import ServerError
from codexteam.adapters.responses.optional_parts import EFFORT, PARTS, Part
from codexteam.core.ids import JSONObject

#: Words of a refusal. An error without any of them is about something else.
_REFUSAL = re.compile(
    r"unknown|unsupported|un-?recogni[sz]ed|unexpected|undefined|extra(neous)?\b|unavailable|invalid|deprecated|"
    r"\b(not|n't|cannot|isn't|never)\b.{0,40}\b(support|permit|allow|accept|available|implement|enabled|recogni[sz]|"
    r"exist|valid|known|found|expected|compatible|process|be (used|set|verified|empty))|not[-_ ](supported|permitted|allowed)|"
    r"does not (support|accept|allow)|no support|must (be|not)|only .{0,60}(supported|allowed)|disabled",
    re.IGNORECASE,
)
_REFUSAL_CODES = re.compile(
    r"unsupported|unknown_(parameter|field)|extra_forbidden|invalid_(parameter|encrypted)", re.IGNORECASE
)
#: What follows one of these is what the server takes, not what it refuses.
_ALLOWED = re.compile(
    r",? ?expected( one of)?\b|supported (values|parameters|fields|types|options|keys)( are)?:?|"
    r"\b(allowed|valid|accepted|known|permitted)\b[^.]{0,30}?(are|is|:)|\(\d+ known|did you mean|"
    r"(must|should) be one of|one of:|to drop these|if you want to use",
    re.IGNORECASE,
)
#: The answer's limit does not fit into the model's context, or beside this input.
_TOO_LARGE = re.compile(
    r"max_(output_|completion_)?tokens\b.{0,60}\b(too large|too high|exceeds?|greater|at most|less than|<=)|in the completion",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[`'\"\u2018\u201c\[]([A-Za-z_$#][\w.\[\]/$#]*)[`'\"\u2019\u201d\]]")
_AFTER_WORD = re.compile(
    r"(?:param(?:eter)?s?|arguments?|fields?|propert(?:y|ies)|keys?|name|supplied|inputs?|option|attribute)(?:\(s\))?:?\s+"
    r"(?:supplied:\s*)?(?:is|are)?\s*([a-z_][\w.]*(?:\s*,\s*[a-z_][\w.]*)*)"
)
_AT_START = re.compile(
    r"(?:^|[;:]\s|\n)\s*([a-z_][\w.\[\]]*)(?=:|\s+(?:is|are|was|must|can|not|does|parameter|field|argument)\b)"
)
_POSITION = re.compile(r"\[\d+\]|\.\d+(?=\.|$)|(?<=\.)\d+\.")


def refused_parts(error: ServerError, body: JSONObject, *, described: bool = True) -> tuple[str, ...]:
    """Return the names of those optional parts of a request that an error is about, none if it is about something else.

    What the error names as a field is all refused; an error that only describes gives one, so that no more is left out
    than must be, and counts only where `described` is true.
    """
    if "max_output_tokens" in body and _TOO_LARGE.search(error.message):
        return ("max_output_tokens",)
    if not (_REFUSAL.search(error.message) or any(_REFUSAL_CODES.search(code) for code in error.codes)):
        return ()
    said = _ALLOWED.split(error.message, maxsplit=1)[0] or error.message
    params, words = _names_in_param(error.param), _names_in(said)
    below_input = [f"input.{name}" for name in words] if any(name.startswith("input") for name in params) else []
    for names in (params, below_input, words):
        found = [part for name in names if (part := _named(name, body)) is not None]
        if found:
            return tuple(dict.fromkeys(_exactly(part, error, body) for part in found))
    for text in (said, error.message) if described else ():
        for part in PARTS:
            if part.is_in(body) and part.words and re.search(part.words, text, re.IGNORECASE):
                return (_exactly(part, error, body),)
    return ()


def _exactly(part: Part, error: ServerError, body: JSONObject) -> str:
    """Return a part's name; where it is only its value that is refused, the name of that value."""
    reasoning = body.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if part.name == "reasoning" and isinstance(effort, str):
        if re.search(rf"(?<![\w-]){re.escape(effort)}(?![\w-])", _ALLOWED.split(error.message, maxsplit=1)[0]):
            return f"{EFFORT}{effort}"
        if "unsupported_value" in error.codes:
            return f"{EFFORT}{effort}"
    return part.name


def _names_in_param(param: str) -> list[str]:
    return [_plain(name) for name in param.split(",") if name.strip()]


def _names_in(text: str) -> list[str]:
    found: list[tuple[int, str]] = [(match.start(1), match[1]) for match in _QUOTED.finditer(text)]
    for pattern in (_AFTER_WORD, _AT_START):
        for match in pattern.finditer(text):
            found += [(match.start(1) + at, name) for at, name in enumerate(match[1].split(","))]
    # what has an underscore or a dot in it is a name wherever it stands
    found += [(match.start(), match[0]) for match in re.finditer(r"\b[a-z]+(?:[_.][a-z]+)+\b", text)]
    return [_plain(name) for _, name in sorted(found)]


def _plain(name: str) -> str:
    plain = _POSITION.sub("", name.strip().strip("$#/.'\"`[]").replace("/", ".").lower()).strip(".")
    return plain.removeprefix("body.").removeprefix("request.")


def _named(name: str, body: JSONObject) -> Part | None:
    """Return the part that a field's name means, the closest one first."""
    best: tuple[int, Part] | None = None
    for part in PARTS:
        if not part.is_in(body):
            continue
        for own in part.names:
            if (name == own or name.startswith(f"{own}.")) and (best is None or len(own) > best[0]):
                best = (len(own), part)
    return best[1] if best else None
