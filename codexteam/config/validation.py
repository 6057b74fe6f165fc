"""All layers held against the schema: what is wrong, and which keys nobody knows."""

from collections.abc import Sequence

from codexteam.config.codex_schema import CONFIG
from codexteam.config.layers import Layer, Merged
from codexteam.config.schema import Problem, check, dotted
from codexteam.errors import ConfigError

#: More problems than this in one message help nobody.
_SHOWN = 20


def refuse(places: Sequence[tuple[str, Problem]]) -> ConfigError:
    """Give the error for problems and where each stands: file, line, key, found, allowed, and what to do."""
    lines = [line(place, problem) for place, problem in places[:_SHOWN]]
    if len(places) > _SHOWN:
        lines.append(f"... and {len(places) - _SHOWN} more")
    hints = dict.fromkeys(problem.hint for _, problem in places if problem.hint)
    return ConfigError("\n".join(lines), hint="; ".join(hints))


def line(place: str, problem: Problem) -> str:
    """Give a problem as one line: file, line, key, what was found, what is allowed."""
    return f"{place}: {dotted(problem.path)}: found {problem.found}, allowed is {problem.allowed}"


def check_types(merged: Merged) -> None:
    """Hold the merged values against the schema, as Codex does: what a higher layer replaced is not looked at.

    Raises:
        ConfigError: Types, words or ranges are wrong; every one of them is named.
    """
    found = check(merged.values, CONFIG).problems
    if found:
        raise refuse([(merged.place(problem.path), problem) for problem in found])


def unknown_keys(layers: Sequence[Layer]) -> list[tuple[str, Problem]]:
    """Give the keys that neither Codex nor codexteam knows, with their places."""
    return [(layer.place(problem.path), problem) for layer in layers for problem in check(layer.values, CONFIG).unknown]


def unknown_notice(place: str, problem: Problem) -> str:
    """Give the warning of a key that nobody knows."""
    guess = f"; {problem.hint}" if problem.hint else ""
    return f"{place}: `{dotted(problem.path)}` is not known and ignored{guess}"
