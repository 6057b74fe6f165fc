"""Our own rules, as ast-grep reads them.

A file holds the rules of one language, or of several that share a grammar: what they have in common (`utils`) is written
once, while ast-grep wants it in each rule.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

#: Language of ast-grep to the file that has its rules.
_FILES: Final = {
    "Python": "python",
    "JavaScript": "javascript",
    "TypeScript": "javascript",
    "Tsx": "javascript",
    "Go": "go",
    "Java": "java",
    "Ruby": "ruby",
    "Php": "php",
}


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of ours."""

    id: str
    weakness: str
    body: dict[str, Any]


@lru_cache
def own_rules(language: str) -> tuple[OwnRule, ...]:
    """Return the rules of a language."""
    text = (files("codexteam.adapters.scan") / "rules" / f"{_FILES[language]}.yml").read_text(encoding="utf-8")
    kept = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return tuple(
        OwnRule(name, name.partition("-")[2], {**rule, "utils": _used(rule, kept["utils"])})
        for name, rule in kept["rules"].items()
    )


def _used(rule: object, utils: dict[str, Any]) -> dict[str, Any]:
    """Return the utils that a rule matches by, and those that these do: ast-grep compiles each that it is given."""
    names = dict.fromkeys(_named(rule))
    for name in (waiting := list(names)):
        for more in _named(utils[name]):
            if more not in names:
                names[more] = None
                waiting.append(more)
    return {name: utils[name] for name in names}


def _named(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "matches":
                yield value
            else:
                yield from _named(value)
    elif isinstance(part, list):
        for value in part:
            yield from _named(value)


def rules_text(languages: Iterable[str]) -> str:
    """Return the rules of these languages as one text for ast-grep: JSON, which is YAML, a document each."""
    # ids are unique in ast-grep, and a rule may be there for several languages
    return "\n---\n".join(
        json.dumps({"id": f"{rule.id}.{language}", "language": language, **rule.body})
        for language in languages
        for rule in own_rules(language)
    )


def rule_reported(name: str) -> OwnRule:
    """Return the rule that ast-grep reports by its document's id."""
    own, _, language = name.partition(".")
    return next(rule for rule in own_rules(language) if rule.id == own)
