import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.agent import contract
from codexteam.agent.agent_kinds import AGENT_KINDS
from codexteam.agent.contract import (
    EXPLAINING,
    Fits,
    Misfit,
    contract_schema,
    misfits,
    output_schema,
    read_answer,
)
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.core.answers import (
    RoleAnswer,
)
from codexteam.core.codec import decode, encode
from codexteam.core.ids import JSONObject, JSONValue, Purpose
from codexteam.ports.model import OutputSchema
from tests.examples import examples

#: What the validator checks.
BINDING = {"type", "properties", "required", "additionalProperties", "items", "enum"}
FILES = sorted((Path(contract.__file__).parent / "contracts").glob("*.json"))
NAMES = [path.name.removesuffix(".schema.json") for path in FILES]


def schemas_in(schema: JSONValue) -> list[JSONObject]:
    if isinstance(schema, list):
        return [found for element in schema for found in schemas_in(element)]
    if not isinstance(schema, dict):
        return []
    return [schema, *schemas_in(list((schema.get("properties") or {}).values())), *schemas_in(schema.get("items"))]  # type: ignore[union-attr]  # properties are an object


def test_every_purpose_but_compaction_has_a_contract_that_ships() -> None:
    assert set(Purpose) - set(AGENT_KINDS) == {Purpose.COMPACT}
    assert {kind.contract for kind in AGENT_KINDS.values()} == set(NAMES)
    assert {kind.role for kind in AGENT_KINDS.values()} == set(BUNDLED_ROLES) - {"requirement_analyst"}


@pytest.mark.parametrize("name", NAMES)
def test_contracts_use_nothing_that_the_validator_does_not_know(name: str) -> None:
    for schema in schemas_in(contract_schema(name)):
        assert set(schema) <= BINDING | EXPLAINING


@pytest.mark.parametrize("name", NAMES)
def test_contracts_are_strict_all_the_way_down(name: str) -> None:
    for schema in schemas_in(contract_schema(name)):
        if schema.get("type") == "object":
            properties = schema["properties"]
            assert isinstance(properties, dict)
            assert schema["required"] == list(properties)
            assert schema["additionalProperties"] is False


def test_the_schema_of_a_request_has_no_title_and_no_dialect() -> None:
    schema = output_schema(Purpose.PLAN)
    assert schema is not None
    assert schema.name == "plan"
    assert not {"$schema", "title"} & set(schema.schema)
    assert output_schema(Purpose.COMPACT) is None


def values_for(schema: JSONObject, *, nearly: bool = True) -> st.SearchStrategy[JSONValue]:
    """Values that fit, and with `nearly` values that almost do."""
    wrong: st.SearchStrategy[JSONValue] = st.sampled_from([None, True, 3, "x", [], {}, 7.5])
    if "enum" in schema:
        choices = schema["enum"]
        assert isinstance(choices, list)
        return st.one_of(st.sampled_from(choices), wrong) if nearly else st.sampled_from(choices)
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds
    fitting: list[st.SearchStrategy[JSONValue]] = []
    for name in names if isinstance(names, list) else []:
        match name:
            case "string":
                fitting.append(st.text(max_size=5))
            case "null":
                fitting.append(st.none())
            case "boolean":
                fitting.append(st.booleans())
            case "integer":
                fitting.append(st.integers())
            case "array":
                items = schema["items"]
                assert isinstance(items, dict)
                fitting.append(st.lists(values_for(items, nearly=nearly), max_size=3))
            case "object":
                properties = schema["properties"]
                assert isinstance(properties, dict)
                known = {
                    key: values_for(value, nearly=nearly)
                    for key, value in properties.items()
                    if isinstance(value, dict)
                }
                whole = st.fixed_dictionaries(known)
                partial = st.fixed_dictionaries({}, optional={**known, "surprise": st.none()})
                fitting += [whole, whole, partial] if nearly else [whole]
            case _:
                raise AssertionError(name)
    return st.one_of(*fitting, *fitting, wrong) if nearly else st.one_of(*fitting)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_the_validator_says_what_the_real_library_says(name: str, data: st.DataObject) -> None:
    schema = contract_schema(name)
    value = data.draw(values_for(schema))
    real = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (not misfits(value, schema)) == real


#: Each contract, and what an answer that fits it is read into.
ANSWERS = {kind.contract: kind.answer for kind in AGENT_KINDS.values()}


def test_every_contract_has_its_dataclass() -> None:
    assert {(kind.contract, kind.answer) for kind in AGENT_KINDS.values()} == set(ANSWERS.items())
    assert set(ANSWERS.values()) == set(get_args(RoleAnswer))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_what_fits_a_contract_is_read_field_by_field(name: str, data: st.DataObject) -> None:
    value = data.draw(values_for(contract_schema(name), nearly=False))
    assert misfits(value, contract_schema(name)) == []
    assert encode(decode(ANSWERS[name], value, "answer")) == value


SCHEMA = OutputSchema(
    "answer",
    {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize("text", ['{"n": 1}', '```json\n{"n": 1}\n```', '  {"n": 1}\n'])
def test_an_answer_is_read(text: str) -> None:
    assert read_answer(text, SCHEMA) == Fits({"n": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ('{"n": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "one JSON object"),
        ('{"n": 1.5}', "n: must be integer, found number"),
        ('{"n": true}', "n: must be integer, found boolean"),
        ('{"n": 1, "m": 2}', "m: not allowed; allowed: n"),
        ("{}", "n: missing"),
    ],
)
def test_an_answer_that_does_not_fit_says_why(text: str, reason: str) -> None:
    misfit = read_answer(text, SCHEMA)
    assert isinstance(misfit, Misfit)
    assert reason in misfit.reason


def test_many_problems_are_told_in_part() -> None:
    value: JSONValue = {f"extra_{number}": json.dumps(number) for number in range(100)}
    assert len(misfits(value, SCHEMA.schema)) == 12


def test_what_may_be_null_may_be_left_out() -> None:
    plan: JSONObject = {"summary": "", "tasks": [], "later": [], "risks": [], "questions": ["Which?"]}
    schema = output_schema(Purpose.PLAN)
    assert schema is not None

    found = read_answer(json.dumps(plan), schema)

    assert found == Fits({**plan, "answer": None, "plan_only": None, "probes": None})
    assert isinstance(read_answer(json.dumps({**plan, "risks": None}), schema), Misfit)
