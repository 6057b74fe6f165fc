"""What people and checks ask of a run's pull request: taken once, planned, judged, and closed by what was merged for it."""

from dataclasses import replace

import pytest

from codexteam.core.effects import Finish, Replan, Result, RunGate, Work
from codexteam.core.events import Continued, GateFinished, Planned, RunPrepared, RunStarted, Verdict
from codexteam.core.facts import story
from codexteam.core.feedback import finding_of
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import GateName
from codexteam.core.plan_graph import Plan
from codexteam.core.state import FindingStatus, Rules, TaskPhase
from codexteam.core.steering_events import FeedbackGiven
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, encode_event
from codexteam.errors import UsageError
from tests.unit.core.run_world import World, tasks

_RULES = Rules(gates=(GateName.CI, GateName.REVIEW), scout=False, document=False, release=False)
_ASKED = Finding(
    "Review by alice (kfb): say which row is bad",
    "alice: say which row is bad",
    Severity.MUST_FIX,
    Category.CORRECTNESS,
    file="src/load.py",
    line=3,
    gate=GateName.REVIEW,
    source="thread:A",
    revision="1",
)


def _green() -> World:
    world = World(tasks("T1"), _RULES)
    assert world.run().result is Result.GREEN
    return world


def _asked(*findings: Finding) -> FeedbackGiven:
    return FeedbackGiven("pull request 7", findings)


def _go_on(world: World) -> Finish:
    world.finished = None
    world.send(Continued())
    return world.run()


def test_feedback_makes_a_green_run_work_until_its_gate_sees_it_fixed() -> None:
    world = _green()
    before = world.state
    world.send(_asked(_ASKED))
    assert world.state.result is Result.INTERRUPTED
    assert "pull request 7 asks for changes" in world.state.result_reason
    assert [kind for kind, _ in story(_asked(_ASKED), before, world.state, ())] == ["feedback.taken", "finding.opened"]
    world.effects.clear()
    assert _go_on(world).result is Result.GREEN

    [planned] = [effect for effect in world.effects if isinstance(effect, Replan)]
    assert [finding.source for finding in planned.findings] == ["thread:A"]
    assert any(isinstance(effect, Work) for effect in world.effects)
    judged = [effect for effect in world.effects if isinstance(effect, RunGate) and effect.gate is GateName.REVIEW]
    assert [finding.source for finding in judged[0].open_findings] == ["thread:A"]
    known = finding_of(world.state, "thread:A")
    assert known is not None
    assert known.status is FindingStatus.FIXED
    fixes = [one for one in world.state.tasks.values() if known.finding.id in one.task.fixes]
    assert [one.phase for one in fixes] == [TaskPhase.MERGED]


def test_the_same_words_are_taken_once_and_new_ones_open_the_finding_again() -> None:
    world = _green()
    world.send(_asked(_ASKED))
    with pytest.raises(UsageError, match="knows all that pull request 7 asks for"):
        step(world.state, _asked(_ASKED))
    assert _go_on(world).result is Result.GREEN
    with pytest.raises(UsageError, match="knows all"):
        step(world.state, _asked(_ASKED))
    world.send(_asked(replace(_ASKED, title="Another title", detail="alice: not enough", revision="2")))
    known = finding_of(world.state, "thread:A")
    assert known is not None
    assert (known.status, known.finding.title, known.finding.detail) == (
        FindingStatus.OPEN,
        _ASKED.title,
        "alice: not enough",
    )
    assert len(world.state.findings) == 1
    assert _go_on(world).result is Result.GREEN


def test_a_gate_keeps_what_people_asked_for_open_and_knows_its_source() -> None:
    world = _green()
    world.send(_asked(_ASKED))
    world.finished = None
    world.send(Continued())
    judging = {GateName.REVIEW: Finding(_ASKED.title, "less", Severity.NIT, Category.CORRECTNESS, file="src/load.py")}
    while world.state.in_flight:
        effect = next(iter(world.state.in_flight.values()))
        if isinstance(effect, RunGate) and effect.gate in judging:
            found = (judging.pop(effect.gate),)
            world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.SHIP, found))
            known = finding_of(world.state, "thread:A")
            assert known is not None
            assert (known.status, known.finding.revision) == (FindingStatus.OPEN, "1")
        else:
            world.send(world.answer(effect))
    assert len(world.state.findings) == 1
    assert world.state.result is Result.GREEN  # the next round did not repeat it


def test_feedback_on_a_run_without_a_plan_is_refused() -> None:
    world = World(tasks("T1"), _RULES)
    world.send(RunStarted())
    world.send(RunPrepared(world.commit()))
    with pytest.raises(UsageError, match="has made nothing yet"):
        step(world.state, _asked(_ASKED))


def test_feedback_while_gates_judge_is_planned_once_they_have_answered() -> None:
    world = World(tasks("T1"), _RULES)
    world.send(RunStarted())
    world.send(RunPrepared(world.commit()))
    world.send(Planned(Plan("goal", tasks=world.tasks)))
    while world.state.judging is None:
        world.send(world.answer(next(iter(world.state.in_flight.values()))))
    world.send(_asked(_ASKED))
    assert not any(isinstance(effect, Replan) for effect in world.state.in_flight.values())
    assert world.run().result is Result.GREEN
    assert sum(isinstance(effect, Replan) for effect in world.effects) == 1


def test_feedback_is_stored_and_other_findings_are_written_as_before() -> None:
    event = _asked(_ASKED)
    assert decode_event(*encode_event(event)) == event
    _, stored = encode_event(_asked(replace(_ASKED, source=None, revision=None)))
    assert "source" not in str(stored)
