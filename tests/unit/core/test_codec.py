import json
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules
from codexteam.core.stored_state import (
    SCHEMA_HISTORY,
    SCHEMA_VERSION,
    decode_event,
    decode_state,
    encode_event,
    encode_state,
)
from codexteam.errors import StoreError, StoreVersionError
from tests.examples import examples
from tests.unit.core.run_world import World, tasks
from tests.unit.core.test_step import plans, rules


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans(), rules=rules, seed=st.randoms(use_true_random=False))
def test_every_state_and_event_of_a_run_comes_back_as_it_was(
    plan: tuple[Task, ...], rules: Rules, seed: object
) -> None:
    randrange = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    world = World(plan, rules, luck=lambda _, n: randrange(n) if randrange(3) == 0 else 0, pick=randrange)
    world.run()
    replayed = World(plan, rules)

    for event in world.history:
        kind, payload = encode_event(event)
        again = decode_event(kind, json.loads(json.dumps(payload)))
        assert again == event
        replayed.send(again)
        assert decode_state(json.loads(json.dumps(encode_state(replayed.state)))) == replayed.state


def test_a_newer_checkpoint_is_refused_with_what_to_do() -> None:
    checkpoint = {**encode_state(World(tasks("T1")).state), "schema": SCHEMA_VERSION + 1}

    with pytest.raises(StoreVersionError, match=f"schema {SCHEMA_VERSION + 1}") as error:
        decode_state(checkpoint)

    assert "newer" in error.value.hint


@pytest.mark.parametrize("schema", [None, "1", True, 0, -1])
def test_what_has_no_schema_that_ever_was_is_refused(schema: object) -> None:
    checkpoint = {**encode_state(World(tasks("T1")).state), "schema": schema}

    with pytest.raises(StoreVersionError, match="checkpoint of schema"):
        decode_state(checkpoint)  # type: ignore[arg-type]  # on purpose


def test_newer_fields_get_defaults_and_unknown_ones_are_left_out() -> None:
    state = World(tasks("T1", "T2:T1")).state
    checkpoint = json.loads(json.dumps(encode_state(state)))
    required = {"run_id", "goal", "rules"}
    empty = {name for name, value in checkpoint["state"].items() if name not in required and not value}
    assert empty
    for name in empty:
        del checkpoint["state"][name]
    checkpoint["state"]["of_the_future"] = {"type": "Unheard", "of": 1}

    assert decode_state(checkpoint) == state


def test_every_schema_version_has_its_line_of_history() -> None:
    assert list(SCHEMA_HISTORY) == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("Nonsense", {}), ("Scouted", {"problems": 3}), ("Landed", {"ref": "x"}), ("Integrated", {"attempt": "one"})],
)
def test_what_is_no_event_is_refused(kind: str, payload: dict[str, object]) -> None:
    with pytest.raises(StoreError):
        decode_event(kind, payload)  # type: ignore[arg-type]  # on purpose


@stored(StoredForm(name="square", aliases=("quadrat",), missing={"a": 2}, names={"side": "a"}))
@dataclass(frozen=True)
class Square:
    side: int = 1


@stored(StoredForm(version=3))
@dataclass(frozen=True)
class Circle:
    radius: float
    tags: tuple[str, ...] = ()


@stored(StoredForm(tag="", flat=("shape",)))
@dataclass(frozen=True)
class Drawn:
    shape: Square | Circle
    where: tuple[int, int]
    data: JSONObject


def test_an_older_name_of_a_class_and_of_a_field_is_read() -> None:
    now, before = Drawn(Square(3), (0, 1), {"x": [1]}), {"type": "quadrat", "a": 3, "where": [0, 1], "data": {"x": [1]}}
    assert encode_object(now) == {**before, "type": "square"}
    assert decode(Drawn, before, "drawing") == now  # type: ignore[arg-type]  # lists of JSON
    assert decode(Square, {}, "square") == Square(2)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"type": "Circle", "radius": True}, "drawing.radius: expected a number, found True"),
        ({"type": "Circle"}, "drawing: radius is missing"),
        ({"type": "Circle", "radius": 1, "tags": "x"}, "drawing.tags: expected a list, found 'x'"),
        ({"type": "Circle", "radius": 1, "tags": ["x", 1]}, "drawing.tags[1]: expected a text, found 1"),
        ({"type": "square", "a": 1.5}, "drawing.a: expected a whole number, found 1.5"),
        ({"type": "square", "a": True}, "drawing.a: expected a whole number, found True"),
        ({"type": "square", "where": [1]}, "drawing.where: expected a list of 2, found [1]"),
        ({"type": "square", "where": [1, 2], "data": []}, "drawing.data: expected an object, found []"),
        ({"type": "cube"}, "drawing: unknown type 'cube'"),
        ([], "drawing: expected an object, found []"),
        ("x" * 500, "drawing: expected an object, found '" + "x" * 79 + "..."),
    ],
)
def test_what_does_not_fit_is_one_error_that_names_its_place(value: JSONValue, problem: str) -> None:
    with pytest.raises(StoreError) as error:
        decode(Drawn, value, "drawing")
    assert problem in str(error.value)
    assert error.value.hint


def test_a_newer_version_is_refused_also_where_its_class_is_unknown() -> None:
    for newer in ("Circle", "cube"):
        with pytest.raises(StoreVersionError, match="version 4; this codexteam reads versions up to 3"):
            decode(Drawn, {"type": newer, "version": 4}, "drawing")
