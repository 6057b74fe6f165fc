"""What is reported about agents at work: the facts in `events.jsonl`, and short texts for people."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.config.settings import RoleSettings
from codexteam.core.budget_amounts import Amount, Price, Usage, usd_of
from codexteam.core.codec import encode
from codexteam.core.ids import AgentKey, JSONObject, Purpose


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A call is about to be made."""

    turn: int


@dataclass(frozen=True, slots=True)
class CallSent:
    """A try of the call is on its way to the service."""


@dataclass(frozen=True, slots=True)
class StreamBegan:
    """The service took the request."""


@dataclass(frozen=True, slots=True)
class TurnAnswered:
    """The model answered, and the answer is stored."""

    turn: int


@dataclass(frozen=True, slots=True)
class TryUnanswered:
    """A try of a call gave no answer, and nobody says whether it is billed."""

    turn: int
    call: Purpose
    counted: Amount
    """What the budget counts for all such tries of this call so far."""


@dataclass(frozen=True, slots=True)
class TextStreamed:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallRetried:
    """The call failed on its way and is made again."""

    reason: str
    wait_seconds: float
    tries: int
    """The number of the try that follows."""


@dataclass(frozen=True, slots=True)
class BudgetAwaited:
    """The call waits until others leave enough of the budget; an empty reason means that it continues."""

    reason: str


@dataclass(frozen=True, slots=True)
class PersonAwaited:
    """No turn begins while a person looks at the workspace; an empty reason means that it continues."""

    reason: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call begins; `what` is its first line, as the model wrote it."""

    call_id: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call is done; `failed` when it could not be done as asked."""

    call_id: str
    name: str
    failed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class PlanUpdated:
    """The agent's own list of steps (`update_plan`)."""

    steps: tuple[JSONObject, ...]


@dataclass(frozen=True, slots=True)
class Compacted:
    """The transcript was made shorter."""

    turn: int
    bytes_before: int
    bytes_after: int


AgentEvent: TypeAlias = (
    TurnStarted
    | CallSent
    | StreamBegan
    | TurnAnswered
    | TryUnanswered
    | TextStreamed
    | CallRetried
    | BudgetAwaited
    | PersonAwaited
    | ToolStarted
    | ToolFinished
    | PlanUpdated
    | Compacted
)


_COMMAND = re.compile(r'"(?:cmd|command)"\s*:\s*(?:\[\s*"(?:bash|sh|zsh)"\s*,\s*"-l?c"\s*,\s*)?"((?:[^"\\]|\\.)*)')
_PATCHED = re.compile(r"\*\*\* (?:Add|Update|Delete) File: ([^\\\n\"]+)")


def action_words(tool: str, what: str) -> str:
    """Say what a tool call does, in few words; `what` is the first line of its arguments, perhaps cut."""
    files = _PATCHED.findall(what)
    if files and "*** Begin Patch" in what:
        return f"patch {', '.join(files)}"
    if command := _COMMAND.search(what):
        cut = "" if what[command.end() : command.end() + 1] == '"' else "…"
        return command[1].replace('\\"', '"').replace("\\n", " ; ") + cut
    if files:
        return f"patch {', '.join(files)}"
    return f"{tool} {what}".strip()


def agent_fields(key: AgentKey, role: RoleSettings) -> JSONObject:
    """Return the fields that every event of an agent has."""
    return fields_of(key, role.model.model)


def fields_of(key: AgentKey, model: str) -> JSONObject:
    """Return them where the role's settings are not at hand."""
    return {
        "agent": str(key),
        "role": key.role,
        "purpose": key.purpose.value,
        "task": key.task_id,
        "attempt": key.attempt,
        "model": model,
    }


def tool_fields(key: AgentKey, event: ToolFinished) -> JSONObject:
    """Return the fields of `agent.tool_finished`; `agent.acted` of the same call has the others."""
    seconds = round(event.seconds, 3)
    return {"agent": str(key), "tool": event.name, "call": event.call_id, "failed": event.failed, "seconds": seconds}


def turn_fields(
    agent: JSONObject, turn: int, usage: Usage | None, price: Price | None, counted: Amount | None = None
) -> JSONObject:
    """Return the fields of `agent.turn`, which follow those of the agent; an unknown price is None, which is not 0.

    `counted` is what the budget counts for an answer without a usage.
    """
    usd = usd_of(usage, price) if usage else None
    bound = _counted_json(counted) if usage is None and counted is not None else None
    credits_ = price.credits(usage) if usage and price else None
    money: JSONObject = {"usd": usd, "credits": credits_}
    return {**agent, "turn": turn, "usage": encode(usage), **money, "counted": bound}


def unanswered_fields(agent: JSONObject, turn: int, call: Purpose, counted: Amount) -> JSONObject:
    """Return the fields of `agent.unanswered`: `counted` is for all tries of this call that may be billed."""
    return {**agent, "turn": turn, "call": call.value, "counted": _counted_json(counted)}


def _counted_json(amount: Amount) -> JSONObject:
    return {"tokens": amount.tokens, "usd": amount.usd, "credits": amount.credits}
