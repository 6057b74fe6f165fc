"""What is told of agents at work: the facts of `events.jsonl`, and few words for people."""

import re

from codexteam.config.settings import RoleSettings
from codexteam.core.budget_amounts import Amount
from codexteam.core.ids import AgentKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Price, Usage

_COMMAND = re.compile(r'"cmd"\s*:\s*"((?:[^"\\]|\\.)*)')
_PATCHED = re.compile(r"\*\*\* (?:Add|Update|Delete) File: ([^\\\n\"]+)")


def action_words(tool: str, what: str) -> str:
    """Say what a tool call does, in few words; `what` is the first line of its arguments, perhaps cut."""
    if command := _COMMAND.search(what):
        cut = "" if what[command.end() : command.end() + 1] == '"' else "…"
        return command[1].replace('\\"', '"').replace("\\n", " ; ") + cut
    if files := _PATCHED.findall(what):
        return f"patch {', '.join(files)}"
    return f"{tool} {what}".strip()


def agent_fields(key: AgentKey, role: RoleSettings) -> JSONObject:
    """Give the fields that every event of an agent has."""
    return fields_of(key, role.model.model)


def fields_of(key: AgentKey, model: str) -> JSONObject:
    """Give them where the role's settings are not at hand."""
    return {
        "agent": str(key),
        "role": key.role,
        "purpose": key.purpose.value,
        "task": key.task_id,
        "attempt": key.attempt,
        "model": model,
    }


def turn_fields(
    agent: JSONObject, turn: int, usage: Usage | None, price: Price | None, counted: Amount | None = None
) -> JSONObject:
    """Give the fields of `agent.turn`, which follow those of the agent; an unknown price is None, which is not 0.

    `counted` is what the budget counts for an answer without a usage.
    """
    usd = price.usd(usage) if price and usage else None
    bound = _counted_json(counted) if usage is None and counted is not None else None
    return {**agent, "turn": turn, "usage": usage_json(usage), "usd": usd, "counted": bound}


def unanswered_fields(agent: JSONObject, turn: int, call: Purpose, counted: Amount) -> JSONObject:
    """Give the fields of `agent.unanswered`: `counted` is for all tries of this call that may be billed."""
    return {**agent, "turn": turn, "call": call.value, "counted": _counted_json(counted)}


def _counted_json(amount: Amount) -> JSONObject:
    return {"tokens": amount.tokens, "usd": amount.usd, "credits": amount.credits}


def usage_json(usage: Usage | None) -> JSONObject | None:
    """Give usage as a fact; None is missing, which is not 0."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
