import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codexteam
from codexteam.core.effects import Finish
from codexteam.core.events import Event
from codexteam.core.facts import KINDS, REPORTED_KINDS, Fact, story
from codexteam.core.ids import RunId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from tests.examples import examples
from tests.unit.core.run_world import World, tasks
from tests.unit.core.test_step import plans, rules


def told(history: list[Event], rules: Rules) -> list[Fact]:
    state = RunState(RunId("20261121-0231-7f3a"), "goal", rules)
    facts: list[Fact] = []
    for event in history:
        after, effects = step(state, event)
        facts += story(event, state, after, effects)
        state = after
    return facts


def test_the_story_of_a_small_run() -> None:
    world = World(tasks("T1", "T2:T1"))
    world.run()

    kinds = [kind for kind, _ in told(world.history, world.rules)]

    assert kinds[:7] == [
        "run.started",
        "run.prepared",
        "scouts.completed",
        "plan.created",
        "task.added",
        "task.started",
        "task.added",
    ]
    assert kinds[-3:] == ["branch.landing", "branch.landed", "run.finished"]
    assert kinds.count("task.merged") == 2
    assert kinds.count("gate.completed") == 4


def test_no_field_is_named_like_one_that_every_event_line_has() -> None:
    world = World(tasks("T1", "T2:T1"))
    world.run()

    facts = told(world.history, world.rules)

    assert [kind for kind, fields in facts if {"schema", "sequence", "at", "run", "kind"} & set(fields)] == []
    assert [fields["purpose"] for kind, fields in facts if kind == "task.started"] == ["implement", "implement"]


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans(), rules=rules, seed=st.randoms(use_true_random=False))
def test_every_story_has_known_kinds_and_one_end(plan: tuple[Task, ...], rules: Rules, seed: object) -> None:
    randrange = seed.randrange  # type: ignore[attr-defined]  # a random.Random
    world = World(plan, rules, luck=lambda _, n: randrange(n) if randrange(3) == 0 else 0, pick=randrange)
    finish = world.run()

    facts = told(world.history, rules)

    assert {kind for kind, _ in facts} <= set(KINDS)
    assert [fields["result"] for kind, fields in facts if kind == "run.finished"] == [finish.result.value]
    assert isinstance(finish, Finish)
    merged = [fields["task"] for kind, fields in facts if kind == "task.merged"]
    assert len(merged) == len(set(merged))


def told_in_source() -> set[str]:
    """Every kind that some module tells by name."""
    package = Path(codexteam.__file__).parent
    report = re.compile(r"""\b_?report\(\s*"([a-z]+(?:\.[a-z_]+)?)\"""")
    return {kind for path in package.rglob("*.py") for kind in report.findall(path.read_text())}


def test_every_kind_that_is_told_is_listed_and_documented() -> None:
    documented = set(
        re.findall(r"`([a-z]+(?:\.[a-z_]+)?)`", (Path(codexteam.__file__).parent / "README.md").read_text())
    )

    assert told_in_source() <= {*KINDS, *REPORTED_KINDS}
    assert {*KINDS, *REPORTED_KINDS} <= documented
