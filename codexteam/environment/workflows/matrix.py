"""One combination of a job's matrix: Linux, the version that the project itself asks for, and the first of all else."""

import itertools
import re
from collections.abc import Mapping

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.environment.documents import mapping
from codexteam.environment.expressions import (
    Scope,
    as_text,
    fill_in_value,
    is_true,
)

_MAX_COMBINATIONS = 2000
_VERSION_KEYS = {
    "python": re.compile(r"^(?:python|py)(?:[-_]?versions?)?$"),
    "node": re.compile(r"^node(?:js)?(?:[-_.]?versions?)?$"),
    "go": re.compile(r"^go(?:lang)?(?:[-_]?versions?)?$"),
    "ruby": re.compile(r"^ruby(?:[-_]?versions?)?$"),
    "java": re.compile(r"^(?:java|jdk)(?:[-_]?versions?)?$"),
    "php": re.compile(r"^php(?:[-_]?versions?)?$"),
    "rust": re.compile(r"^(?:rust|toolchain|channel)(?:[-_]?versions?)?$"),
}


def chosen_combination(matrix: JSONValue, scope: Scope, wanted: Mapping[str, str]) -> JSONObject:
    """Return one combination; an empty one where there is no matrix, or it is not known before a run.

    Args:
        matrix: what stands under `strategy.matrix`.
        scope: what its expressions may name.
        wanted: by language, the version that the project's own files ask for.

    Raises:
        UnknownValueError: it comes from another job or the service.
        BadExpressionError: an expression in it is not one.
    """
    found = [each for each in _combinations(matrix, scope) if not _is_experimental(each)]
    if not found:
        return {}
    return min(enumerate(found), key=lambda each: (*_distance(each[1], wanted), each[0]))[1]


def _combinations(matrix: JSONValue, scope: Scope) -> list[JSONObject]:
    filled = fill_in_value(matrix, scope)
    if not isinstance(filled, dict):
        return []
    axes: dict[str, list[JSONValue]] = {}
    for key, value in filled.items():
        values = _filled(value, scope)
        if key not in {"include", "exclude"} and isinstance(values, list) and values:
            axes[key] = values
    size = 1
    for values in axes.values():
        size *= len(values)
    if size > _MAX_COMBINATIONS:
        # the first of every axis stands for them all
        axes = {key: values[: 8 if index < 2 else 1] for index, (key, values) in enumerate(axes.items())}
        axes = dict(list(axes.items())[:40])
    combinations = (
        [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    )
    for excluded in _dicts(filled.get("exclude"), scope):
        combinations = [each for each in combinations if not _matches(excluded, each)]
    added: list[JSONObject] = []
    for included in _dicts(filled.get("include"), scope):
        original = {key: value for key, value in included.items() if key in axes}
        extended = [each for each in combinations if original and _matches(original, each)] if axes else []
        if not original and combinations:
            extended = combinations
        if not extended:
            added.append(included)
        for each in extended:
            each |= {key: value for key, value in included.items() if key not in axes}
    return [*combinations, *added]


def _filled(value: JSONValue, scope: Scope) -> JSONValue:
    found = fill_in_value(value, scope)
    if isinstance(found, list):
        return [_filled(each, scope) for each in found]
    if isinstance(found, dict):
        return {key: _filled(each, scope) for key, each in found.items()}
    return found


def _dicts(value: JSONValue, scope: Scope) -> list[JSONObject]:
    found = _filled(value, scope)
    return [dict(each) for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _matches(part: JSONObject, whole: JSONObject) -> bool:
    return all(key in whole and as_text(whole[key]) == as_text(value) for key, value in part.items())


def _is_experimental(combination: JSONObject) -> bool:
    flags = ("experimental", "continue-on-error", "allow-failure", "allow_failure", "unstable", "optional")
    return any(is_true(combination.get(key)) and combination.get(key) != "false" for key in flags)


def _distance(combination: JSONObject, wanted: Mapping[str, str]) -> tuple[int, int]:
    """Return how far a combination is from what is wanted: another system first, then another version."""
    system = 0
    version = 0
    for key, value in combination.items():
        text = as_text(value if not isinstance(value, dict) else mapping(value).get("name"))
        if re.fullmatch(r"(?:os|runs[-_]on|runner|platform|image|host|vm)", key):
            system += 0 if re.search(r"ubuntu|linux", text, re.IGNORECASE) else 4
            system += 2 if re.search(r"arm|aarch", text) else 0
        elif re.search(r"windows|macos|osx|win32|darwin", text, re.IGNORECASE):
            system += 4
        for language, pattern in _VERSION_KEYS.items():
            if pattern.fullmatch(key.lower()):
                version += _version_distance(text, wanted.get(language, ""))
    return system, version


def _version_distance(text: str, wanted: str) -> int:
    """Return how far two versions are apart; a pre-release, and another implementation, is far from all."""
    here, there = re.findall(r"\d+", text), re.findall(r"\d+", wanted)
    if re.search(r"pypy|graal|jruby|truffle|nightly|dev|head|alpha|beta|rc|\dt$|-t$", text, re.IGNORECASE):
        return 10_000
    if not there:
        # nobody asks for one: the newest
        return 5_000 - (int(here[0]) * 50 + int(here[1] if len(here) > 1 else 0) if here else 5_000)
    if not here:
        return 0 if text in {"stable", "lts/*", "current"} else 2_000
    major = abs(int(here[0]) - int(there[0]))
    minor = abs(int(here[1]) - int(there[1])) if len(here) > 1 and len(there) > 1 else 0
    return major * 100 + minor
