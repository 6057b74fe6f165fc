import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codexteam.core.codec import (
    SCHEMA_HISTORY,
    SCHEMA_VERSION,
    decode_event,
    decode_state,
    encode_event,
    encode_state,
)
from codexteam.core.plan import Task
from codexteam.core.state import Rules
from codexteam.errors import StoreError, StoreVersionError
from tests.unit.core.run_world import World, tasks
from tests.unit.core.test_step import plans, rules


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


def test_fields_that_came_later_have_their_defaults_in_an_older_checkpoint_and_unknown_ones_are_left_out() -> None:
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
