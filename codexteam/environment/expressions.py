"""The expressions of workflow files, `${{ }}`, as far as they can be known before a run.

Values are JSON's. What only the service knows (secrets, outputs of other steps and jobs) has no value here:
`UnknownValueError` names it, and whoever asked leaves the step out and says so. `a || b` gives `b` where `a` is unknown.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.ids import JSONValue

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?))|(?P<text>'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>==|!=|<=|>=|&&|\|\||[!<>()\[\],.*]))"
)
_INSERTED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_MAX_TOKENS = 2000
_MAX_DEPTH = 60


class UnknownValueError(ValueError):
    """An expression needs what only a run has; the text names it."""


class BadExpressionError(ValueError):
    """A text that is not an expression."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions may name."""

    contexts: Mapping[str, JSONValue]
    """`matrix`, `env`, `runner`, ...: contexts that are wholly known. A key that is missing in one is null."""
    failed: bool = False

    def with_values(self, **contexts: JSONValue) -> "Scope":
        """Return a scope with some contexts changed."""
        return Scope({**self.contexts, **contexts}, self.failed)


def evaluate(text: str, scope: Scope) -> JSONValue:
    """Return the value of an expression, given without its `${{ }}`.

    Raises:
        UnknownValueError: it needs what is not known before a run.
        BadExpressionError: it is not an expression.
    """
    reader = _ExpressionReader(_tokens(text), scope)
    value = reader.either()
    if reader.at < len(reader.tokens):
        raise BadExpressionError(f"{text.strip()[:80]!r} is not an expression")
    return value()


def fill_in(text: str, scope: Scope) -> str:
    """Return a text with its `${{ }}` replaced.

    Raises:
        UnknownValueError: one needs what is not known before a run.
        BadExpressionError: one is not an expression.
    """
    return _INSERTED.sub(lambda match: as_text(evaluate(match[1], scope)), text)


def fill_in_value(value: JSONValue, scope: Scope) -> JSONValue:
    """Return a value that may be an expression: one that is nothing else keeps its type."""
    if not isinstance(value, str):
        return value
    whole = _INSERTED.fullmatch(value.strip())
    if whole is not None and "${{" not in whole[1]:
        return evaluate(whole[1], scope)
    return fill_in(value, scope)


def holds(condition: JSONValue, scope: Scope) -> bool:
    """Return whether an `if:` holds; a missing one does.

    Raises:
        UnknownValueError: it needs what is not known before a run.
        BadExpressionError: it is not an expression.
    """
    if condition is None:
        return True
    if not isinstance(condition, str):
        return is_true(condition)
    whole = _INSERTED.fullmatch(condition.strip())
    text = whole[1] if whole is not None and "${{" not in whole[1] else condition
    return is_true(fill_in(text, scope) if "${{" in text else evaluate(text, scope))


def is_true(value: JSONValue) -> bool:
    """Return whether a value counts as true: all do but null, false, 0 and the empty text."""
    return value not in (None, False, 0, "")


def as_text(value: JSONValue) -> str:
    """Return a value as a text has it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() else str(value)
        case list() | dict():
            return json.dumps(value)
        case _:
            return str(value)


_Token = tuple[str, str]


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(found) > _MAX_TOKENS:
            raise BadExpressionError(f"{text.strip()[:80]!r} is not an expression")
        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    return found


_Later = Callable[[], JSONValue]
"""A value that is worked out only where it counts."""


@dataclass(slots=True)
class _ExpressionReader:
    tokens: Sequence[_Token]
    scope: Scope
    at: int = 0
    depth: int = 0

    def sign(self, *signs: str) -> str:
        if self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if kind == "sign" and text in signs:
                self.at += 1
                return text
        return ""

    def demand(self, sign: str) -> None:
        if not self.sign(sign):
            raise BadExpressionError(f"an expression lacks {sign!r}")

    def either(self) -> _Later:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise BadExpressionError("an expression is nested too deeply")
        value = self.both()
        while self.sign("||"):
            value = _or(value, self.both())
        self.depth -= 1
        return value

    def both(self) -> _Later:
        value = self.comparison()
        while self.sign("&&"):
            value = _and(value, self.comparison())
        return value

    def comparison(self) -> _Later:
        value = self.negation()
        while sign := self.sign("==", "!=", "<=", ">=", "<", ">"):
            value = _compared(sign, value, self.negation())
        return value

    def negation(self) -> _Later:
        count = 0
        while self.sign("!"):
            count += 1
        value = self.operand()
        return value if not count else (lambda: is_true(value()) == (count % 2 == 0))

    def operand(self) -> _Later:
        if self.sign("("):
            value = self.either()
            self.demand(")")
            return self._below(value)
        if self.at >= len(self.tokens):
            raise BadExpressionError("an expression ends too early")
        kind, text = self.tokens[self.at]
        self.at += 1
        match kind:
            case "number":
                number = float(int(text, 16)) if "x" in text.lower() else float(text)
                return lambda: number
            case "text":
                word = text[1:-1].replace("''", "'")
                return lambda: word
            case "name":
                return self._named(text)
            case _:
                raise BadExpressionError(f"{text!r} is where a value should be")

    def _named(self, name: str) -> _Later:
        constants: dict[str, JSONValue] = {"true": True, "false": False, "null": None}
        if name.lower() in constants:
            constant = constants[name.lower()]
            return lambda: constant
        if self.sign("("):
            arguments: list[_Later] = []
            while not self.sign(")"):
                arguments.append(self.either())
                if not self.sign(","):
                    self.demand(")")
                    break
            return self._below(lambda: _called(name, arguments, self.scope))
        path, said = self._path()
        return lambda: _looked_up(self.scope, name, [part() for part in path], name + said)

    def _path(self) -> tuple[list[_Later], str]:
        """Read the `.name` and `[value]` that follow a value."""
        path: list[_Later] = []
        said = ""
        while True:
            if self.sign("."):
                if self.sign("*"):
                    path.append(lambda: "*")
                    continue
                if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
                    raise BadExpressionError("an expression lacks a name after '.'")
                key = self.tokens[self.at][1]
                self.at += 1
                said += f".{key}"
                path.append(lambda key=key: key)  # type: ignore[misc]
            elif self.sign("["):
                path.append((lambda: "*") if self.sign("*") else self.either())
                self.demand("]")
            else:
                return path, said

    def _below(self, value: _Later) -> _Later:
        """Return a value, or what stands below it where a path follows."""
        path, _ = self._path()
        if not path:
            return value
        return lambda: _looked_up(Scope({"it": value()}), "it", [part() for part in path], "it")


def _looked_up(scope: Scope, name: str, path: Sequence[JSONValue], said: str) -> JSONValue:
    known = {key.lower(): value for key, value in scope.contexts.items()}
    if name.lower() not in known:
        raise UnknownValueError(said)
    value = known[name.lower()]
    for index, key in enumerate(path):
        if key == "*":
            parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
            rest = path[index + 1 :]
            return [_looked_up(Scope({"item": part}), "item", rest, said) for part in parts] if rest else parts
        if isinstance(value, dict):
            lower = {each.lower(): each for each in value}
            value = value.get(lower.get(as_text(key).lower(), ""))
        elif isinstance(value, list) and isinstance(key, int | float) and 0 <= key < len(value):
            value = value[int(key)]
        else:
            value = None
    return value


def _or(first: _Later, second: _Later) -> _Later:
    def value() -> JSONValue:
        try:
            found = first()
        except UnknownValueError:
            return second()
        return found if is_true(found) else second()

    return value


def _and(first: _Later, second: _Later) -> _Later:
    def value() -> JSONValue:
        try:
            found = first()
        except UnknownValueError:
            # false whatever the unknown is, where the other says so
            if not is_true(other := second()):
                return other
            raise
        return second() if is_true(found) else found

    return value


def _compared(sign: str, first: _Later, second: _Later) -> _Later:
    def value() -> bool:
        left, right = first(), second()
        match sign:
            case "==":
                return _equal(left, right)
            case "!=":
                return not _equal(left, right)
            case _:
                if isinstance(left, str) and isinstance(right, str):
                    return _ordered(sign, left.lower(), right.lower())
                one, other = _number(left), _number(right)
                return one is not None and other is not None and _ordered(sign, one, other)

    return value


def _ordered(sign: str, left: str | float, right: str | float) -> bool:
    smaller, same = left < right, left == right  # type: ignore[operator]
    return {"<": smaller, "<=": smaller or same, ">": not smaller and not same, ">=": not smaller}[sign]


def _equal(left: JSONValue, right: JSONValue) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        return left is right
    if left is None and right is None:
        return True
    one, other = _number(left), _number(right)
    return one is not None and one == other


def _number(value: JSONValue) -> float | None:
    match value:
        case None:
            return 0.0
        case bool() | int() | float():
            return float(value)
        case str():
            try:
                return float(value.strip() or "0")
            except ValueError:
                return None
        case _:
            return None


def _called(name: str, arguments: Sequence[_Later], scope: Scope) -> JSONValue:
    match name.lower():
        case "always":
            return True
        case "success":
            return not scope.failed
        case "failure":
            return scope.failed
        case "cancelled":
            return False
        case "hashfiles":
            return "0"
        case "case":
            return _case(arguments)
        case _:
            values = [argument() for argument in arguments]
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise BadExpressionError(f"{name}() is not a function of expressions")
    try:
        return function(*values)
    except (TypeError, ValueError, IndexError, RecursionError) as error:
        if isinstance(error, UnknownValueError | BadExpressionError):
            raise
        raise BadExpressionError(f"{name}() cannot be worked out: {error}") from error


def _case(arguments: Sequence[_Later]) -> JSONValue:
    for condition, value in zip(arguments[:-1:2], arguments[1::2], strict=False):
        if is_true(condition()):
            return value()
    return arguments[-1]() if len(arguments) % 2 else None


def _contains(where: JSONValue, what: JSONValue) -> JSONValue:
    if isinstance(where, list):
        return any(_equal(each, what) for each in where)
    return as_text(what).lower() in as_text(where).lower()


def _format(pattern: JSONValue, *values: JSONValue) -> JSONValue:
    def part(match: re.Match[str]) -> str:
        return {"{{": "{", "}}": "}"}.get(match[0]) or as_text(values[int(match[1])])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}", part, as_text(pattern))


_FUNCTIONS: Mapping[str, Callable[..., JSONValue]] = {
    "contains": _contains,
    "startswith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
    "endswith": lambda text, end: as_text(text).lower().endswith(as_text(end).lower()),
    "format": _format,
    "join": lambda parts, by=",": (
        as_text(by).join(as_text(part) for part in parts) if isinstance(parts, list) else as_text(parts)
    ),
    "tojson": lambda value: json.dumps(value, indent=2),
    "fromjson": lambda text: json.loads(as_text(text)),
}
