"""Contracts: what the final answer of each purpose must look like, and whether an answer does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final, cast

from codexteam.agent.json_schema import EXPLAINING, misfits
from codexteam.core.ids import Purpose
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.ports.model import OutputSchema

#: Purpose to the name of its contract. A compaction answers in plain text.
CONTRACTS: Final[Mapping[Purpose, str]] = MappingProxyType(
    {
        Purpose.SCOUT: "scout_report",
        Purpose.PLAN: "plan",
        Purpose.REPLAN: "plan",
        Purpose.IMPLEMENT: "task_report",
        Purpose.RESOLVE: "task_report",
        Purpose.DOCUMENT: "task_report",
        Purpose.REVIEW: "review",
        Purpose.SECURITY: "review",
        Purpose.QA: "qa_report",
        Purpose.CI: "ci_analysis",
        Purpose.CLARIFY: "clarification",
        Purpose.RELEASE: "release_notes",
    }
)


@dataclass(frozen=True, slots=True)
class Fits:
    """An answer as its contract wants it."""

    answer: JSONObject


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why an answer is none; for the model."""

    reason: str


@cache
def contract_schema(name: str) -> JSONObject:
    """Give a contract as it ships. The one object is shared: nobody may change it."""
    text = resources.files("codexteam.agent").joinpath("contracts", f"{name}.schema.json").read_text(encoding="utf-8")
    return cast("JSONObject", json.loads(text))


@cache
def output_schema(purpose: Purpose) -> OutputSchema | None:
    """Give the schema that goes into requests of a purpose; None for plain text."""
    name = CONTRACTS.get(purpose)
    if name is None:
        return None
    shipped = contract_schema(name)
    # a strict schema has no place for these two
    return OutputSchema(name, {key: value for key, value in shipped.items() if key not in EXPLAINING - {"description"}})


def read_answer(text: str, schema: OutputSchema) -> Fits | Misfit:
    """Read a final answer; a Markdown fence around the JSON is taken off, which servers without strict output need."""
    try:
        value: JSONValue = json.loads(_unfenced(text), parse_constant=_refuse_constant)
    except RecursionError:
        return Misfit("the answer is nested too deeply")
    except ValueError as error:
        return Misfit(f"the answer is not valid JSON: {error}")
    if not isinstance(value, dict):
        return Misfit("the answer must be one JSON object")
    problems = misfits(value, schema.schema)
    if problems:
        return Misfit(f"the answer does not fit the schema {schema.name}:\n- " + "\n- ".join(problems))
    return Fits(value)


def _unfenced(text: str) -> str:
    stripped = text.strip()
    if not stripped.startswith("```") or not stripped.endswith("```"):
        return stripped
    _, _, body = stripped.partition("\n")
    return body[: -len("```")]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
