"""A run that is under way goes on under other limits.

Most limits are looked at when something is decided and need nothing here. Agents at work go on where there are fewer
threads, and what was put before a person stays there, but for the question whether to go on with more rounds.
"""

from dataclasses import replace

from codexteam.core.dispatch import after_round, replan, why_stop
from codexteam.core.draft import Draft
from codexteam.core.effects import Land, RunGate
from codexteam.core.rules import Rules
from codexteam.core.state import RunPhase, TaskPhase


def take_rules(draft: Draft, rules: Rules) -> None:
    """Let other limits count. The sitting begins: nobody works on what is in flight yet."""
    before = draft.state.rules
    # counted from the start, or from the round in which a person last said to go on
    limit = draft.state.round_limit + rules.max_rounds - before.max_rounds
    draft.set(rules=rules, round_limit=limit)
    if rules.max_attempts > before.max_attempts or rules.max_resolves > before.max_resolves:
        for task_id, known in list(draft.tasks.items()):  # as where a run ended that was not green
            if known.phase is TaskPhase.FAILED:
                draft.retry(task_id)
    _take_gates(draft)
    _let_rounds_go_on(draft)


def _take_gates(draft: Draft) -> None:
    """Wait for no gate that is off; let one that is on now judge before anything lands."""
    gates = draft.state.rules.gates
    draft.set(gates={gate: record for gate, record in draft.state.gates.items() if gate in gates})
    landing = draft.state.phase is RunPhase.LANDING
    for key, effect in list(draft.in_flight.items()):
        if (isinstance(effect, RunGate) and effect.gate not in gates) or (isinstance(effect, Land) and landing):
            del draft.in_flight[key]
    if landing:
        draft.set(phase=RunPhase.WORKING)
    judging = draft.state.judging
    if judging is not None:
        draft.set(judging=replace(judging, waiting=judging.waiting.intersection(gates)))
        if not judging.waiting.intersection(gates):
            after_round(draft)


def _let_rounds_go_on(draft: Draft) -> None:
    """Take back the question whether to go on after the last round, where it is not the last one any more."""
    item = f"rounds.{draft.state.round}"
    if item in draft.state.holds and why_stop(draft) is None:
        draft.set(holds={name: hold for name, hold in draft.state.holds.items() if name != item})
        replan(draft)
