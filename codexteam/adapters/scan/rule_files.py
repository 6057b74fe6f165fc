"""The rules that code is scanned by: our own, as ast-grep reads them, and those of ruff that count.

A file of ours holds the rules of one language, or of several that share a grammar: what they have in common (`utils`) is
written once, while ast-grep wants it in each rule.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

from codexteam.core.scan_hits import HitLevel

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


#: What ruff says where it sees that a command is a fixed text.
SEEMS_SAFE: Final = "seems safe"

#: Rule to weakness and level. Left out: what is not a weakness by itself (assert, random, missing timeouts, any use of a
#: subprocess, any argument `shell=True`), and what our own rules tell more precisely (passwords in the code).
RUFF_RULES: Final[dict[str, tuple[str, HitLevel]]] = {
    "S102": ("eval", HitLevel.WARNING),
    "S103": ("permissions", HitLevel.WARNING),
    "S201": ("debug-mode", HitLevel.WARNING),
    "S202": ("path-traversal", HitLevel.WARNING),
    "S301": ("unsafe-deserialisation", HitLevel.WARNING),
    "S302": ("unsafe-deserialisation", HitLevel.WARNING),
    "S306": ("temporary-file", HitLevel.WARNING),
    "S307": ("eval", HitLevel.WARNING),
    "S308": ("html-injection", HitLevel.WARNING),
    "S313": ("xml-entities", HitLevel.WARNING),
    "S314": ("xml-entities", HitLevel.WARNING),
    "S315": ("xml-entities", HitLevel.WARNING),
    "S316": ("xml-entities", HitLevel.WARNING),
    "S317": ("xml-entities", HitLevel.WARNING),
    "S318": ("xml-entities", HitLevel.WARNING),
    "S319": ("xml-entities", HitLevel.WARNING),
    "S323": ("tls-off", HitLevel.ERROR),
    "S324": ("weak-hash", HitLevel.WARNING),
    "S501": ("tls-off", HitLevel.ERROR),
    "S502": ("tls-off", HitLevel.ERROR),
    "S503": ("tls-off", HitLevel.ERROR),
    "S504": ("tls-off", HitLevel.WARNING),
    "S505": ("weak-key", HitLevel.ERROR),
    "S506": ("unsafe-deserialisation", HitLevel.ERROR),
    "S507": ("tls-off", HitLevel.ERROR),
    "S508": ("weak-protocol", HitLevel.WARNING),
    "S509": ("weak-protocol", HitLevel.WARNING),
    "S601": ("shell-injection", HitLevel.WARNING),
    "S602": ("shell-injection", HitLevel.WARNING),
    "S605": ("shell-injection", HitLevel.WARNING),
    "S608": ("sql-by-string", HitLevel.WARNING),
    "S609": ("shell-injection", HitLevel.WARNING),
    "S610": ("sql-by-string", HitLevel.WARNING),
    "S611": ("sql-by-string", HitLevel.WARNING),
    "S612": ("eval", HitLevel.WARNING),
    "S701": ("html-injection", HitLevel.WARNING),
    "S702": ("html-injection", HitLevel.WARNING),
    "S704": ("html-injection", HitLevel.WARNING),
}
