"""A review: gates judge what is there, nothing is changed, and the review before it counts."""

import random
from dataclasses import replace

import pytest

from codexteam.core.effects import AskPerson, CheckBase, Effect, Finish, Land, Prepare, Result, RunGate, WritePlan
from codexteam.core.events import Answered, Event, GateFinished, RunPrepared, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, FindingId, GateName
from codexteam.core.reviewing import findings_left
from codexteam.core.state import FindingStatus, Rules
from tests.unit.core.run_world import World

_RULES = Rules(
    gates=(GateName.CI, GateName.REVIEW, GateName.SECURITY),
    scout=False,
    document=False,
    release=False,
    check_base=True,
    review=True,
)
HEAD, BEFORE = CommitId("b" * 40), CommitId("a" * 40)
LOST = Finding("cents are lost", "1.99 becomes 1", Severity.MUST_FIX, Category.CORRECTNESS, gate=GateName.REVIEW)
LEAK = Finding("a key is logged", "in debug", Severity.MUST_FIX, Category.SECURITY, gate=GateName.SECURITY)


class _Review(World):
    """Judges HEAD; `found` is what each gate says, `before` what the review before this one judged and left."""

    found: dict[GateName, tuple[Finding, ...]]
    before: RunPrepared | None = None

    def answer(self, effect: Effect) -> Event:
        if isinstance(effect, Prepare):
            base = self.commit()
            return replace(self.before, base=base) if self.before else RunPrepared(base, HEAD)
        if isinstance(effect, RunGate) and self.found.get(effect.gate):
            return GateFinished(effect.round, effect.gate, effect.commit, Verdict.BLOCK, self.found[effect.gate])
        return super().answer(effect)  # type: ignore[arg-type]  # as given


def _review(*found: Finding, before: RunPrepared | None = None) -> _Review:
    world = _Review((), _RULES)
    world.found = {finding.gate: (finding,) for finding in found}
    world.before = before
    return world


def _before(*known: Finding, waived: tuple[Finding, ...] = (), head: CommitId = BEFORE) -> RunPrepared:
    return RunPrepared(BEFORE, HEAD, head, known, waived)


def _statuses(world: World) -> dict[str, FindingStatus]:
    return {known.finding.title: known.status for known in world.state.findings.values()}


def test_a_change_without_findings_ships_and_nothing_is_landed() -> None:
    world = _review()

    finish = world.run()

    assert (finish.result, finish.exit_code) == (Result.GREEN, 0)
    assert not [effect for effect in world.effects if isinstance(effect, Land | WritePlan | AskPerson)]
    judged = [effect for effect in world.effects if isinstance(effect, RunGate)]
    assert {(effect.commit, effect.since) for effect in judged} == {(HEAD, world.state.base)}


def test_the_base_commands_run_before_a_gate_is_paid() -> None:
    world = _review()
    world.run()
    kinds = [type(effect) for effect in world.effects if isinstance(effect, CheckBase | RunGate)]
    assert kinds == [CheckBase, RunGate, RunGate, RunGate]


def test_a_finding_blocks_and_becomes_no_task() -> None:
    world = _review(LOST)

    finish = world.run()

    assert (finish.result, finish.exit_code) == (Result.NOT_GREEN, 3)
    assert world.state.tasks == {}
    assert not [effect for effect in world.effects if isinstance(effect, Land | AskPerson)]
    assert findings_left(world.state) == ((replace(LOST, id=FindingId("F1")),), ())
    again = world.go_on(person=lambda item: Answered(item, "", approved=True))
    assert (again.result, world.state.round) == (Result.NOT_GREEN, 1)


def test_what_the_review_before_found_is_fixed_or_still_there() -> None:
    other = replace(LOST, title="the name says nothing")
    world = _review(LOST, before=_before(LOST, other))

    world.run()

    assert _statuses(world) == {LOST.title: FindingStatus.OPEN, other.title: FindingStatus.FIXED}
    assert [known.times for known in world.state.findings.values()] == [2, 1]
    asked = {effect.open_findings for effect in world.effects if isinstance(effect, RunGate)}
    assert [len(findings) for findings in asked] == [2]


@pytest.mark.parametrize(("judged", "status"), [(BEFORE, FindingStatus.FIXED), (HEAD, FindingStatus.OPEN)])
def test_silence_closes_a_security_finding_only_if_the_change_is_another(
    judged: CommitId, status: FindingStatus
) -> None:
    world = _review(before=_before(LEAK, head=judged))
    world.run()
    assert _statuses(world) == {LEAK.title: status}


def test_what_a_person_waived_stays_waived_in_the_next_review() -> None:
    world = _review(LOST, before=_before(waived=(LOST,)))

    finish = world.run()

    assert finish.result is Result.GREEN
    assert "waived by you" in finish.reason
    assert _statuses(world) == {LOST.title: FindingStatus.WAIVED}


def test_a_finding_that_a_person_waives_lets_the_review_ship() -> None:
    world = _review(LOST)
    world.run()
    world.send(Answered("findings", "waive F1", approved=True))
    finish = world.go_on(person=lambda item: Answered(item, "", approved=True))
    assert finish.result is Result.GREEN


@pytest.mark.parametrize("seed", range(60))
def test_whatever_gates_say_and_crashes_do_a_review_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)
    world = _review(*([LEAK] if seed % 3 else []), before=_before(LOST) if seed % 2 else None)
    world.luck = lambda _, choices: chance.randrange(choices) if chance.random() < 0.4 else 0
    world.pick = chance.randrange
    world.crash = lambda: chance.random() < 0.1

    finish = world.run()

    assert isinstance(finish, Finish)
    assert world.state.tasks == {}
    assert world.state.tip in {HEAD, None}
    assert not [effect for effect in world.effects if isinstance(effect, Land | WritePlan)]
    if finish.result is Result.GREEN:
        records = world.state.gates
        assert {records[gate].commit for gate in _RULES.gates} == {HEAD}
        assert all(record.verdict is not Verdict.UNANSWERED for record in records.values())
        assert not findings_left(world.state)[0]
