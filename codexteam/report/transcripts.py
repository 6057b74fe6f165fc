"""What one agent was asked, said and called, turn by turn: the stored items of its transcript as people read them."""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from codexteam.agent.prefix import Prompt
from codexteam.agent.tools.toolbox import OUTPUT_TYPES, tool_call_of
from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import encode
from codexteam.core.ids import AgentKey, JSONObject, JSONValue, Purpose, RunId
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import number_field, text_field
from codexteam.report.rows import AgentRow


class EntryKind(StrEnum):
    """What a part of a transcript is."""

    INSTRUCTIONS = "instructions"
    FACT = "fact"
    """What every agent of the run is told: AGENTS.md, skills, where commands run."""
    ASKED = "asked"
    """The task, or a message put in later: a person's, a hint, a correction."""
    REASONING = "reasoning"
    """As far as the service shows it."""
    SAID = "said"
    CALL = "call"
    OUTPUT = "output"
    SUMMARY = "summary"
    """What stands in place of earlier turns from here on."""
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """A part of a transcript. All texts are foreign."""

    kind: EntryKind
    text: str
    name: str = ""
    """Of a call, its tool."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {"kind": self.kind.value, "text": self.text, **({"name": self.name} if self.name else {})}


@dataclass(frozen=True, slots=True)
class TranscriptTurn:
    """One turn: what the model answered, and what came of it. Outputs are there once all of a turn's calls are done."""

    number: int
    entries: tuple[TranscriptEntry, ...]
    usage: Usage | None = None
    is_done: bool = True
    """Its outputs are stored; of an agent that has ended also a turn without any."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "turn": self.number,
            "usage": encode(self.usage),
            "done": self.is_done,
            "entries": [entry.as_json() for entry in self.entries],
        }


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """One agent's transcript, and how it did."""

    key: AgentKey
    row: AgentRow
    effort: str
    reason: str
    """Why it ended otherwise than by its answer; empty while it works."""
    prompt: tuple[TranscriptEntry, ...]
    """Empty where the version that ran it did not keep prompts."""
    turns: tuple[TranscriptTurn, ...]
    is_at_work: bool
    receipt: JSONObject
    """What it was started with; empty until its sandbox is there."""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "type": "agent",
            "run": self.key.run_id,
            "agent": str(self.key),
            "role": self.key.role,
            "purpose": self.key.purpose.value,
            "task": self.key.task_id,
            "attempt": self.key.attempt,
            "model": self.row.model,
            "effort": self.effort,
            "at_work": self.is_at_work,
            "outcome": self.row.state if self.row.done else "",
            "reason": self.reason,
            "usage": encode(self.row.usage),
            "usd": self.row.usd,
            "credits": self.row.credits,
            "at_most_more": self.row.unknown.bound.as_json(),
            "receipt": self.receipt,
            "prompt": [entry.as_json() for entry in self.prompt],
            "turns": [turn.as_json() for turn in self.turns],
        }


@dataclass(slots=True)
class KnownAgent:
    """An agent of a run, as its facts name it."""

    key: AgentKey
    effort: str = ""
    reason: str = ""


def agents_in(run_id: RunId, facts: Iterable[RunEvent]) -> dict[str, KnownAgent]:
    """Return a run's agents by name, in the order in which they began."""
    found: dict[str, KnownAgent] = {}
    for fact in facts:
        if not fact.kind.startswith("agent."):
            continue
        name = text_field(fact.fields, "agent")
        key = agent_key(run_id, fact.fields)
        if key is None or not name:
            continue
        agent = found.setdefault(name, KnownAgent(key))
        agent.effort = text_field(fact.fields, "effort") or agent.effort
        agent.reason = text_field(fact.fields, "reason") if fact.kind == "agent.finished" else agent.reason
    return found


def agent_key(run_id: RunId, fields: Mapping[str, JSONValue]) -> AgentKey | None:
    """Return the agent that a fact is about; None where it is about none that this version knows."""
    found = dict(fields)
    try:
        purpose = Purpose(text_field(found, "purpose"))
    except ValueError:
        return None
    role = text_field(found, "role")
    return AgentKey(run_id, role, purpose, text_field(found, "task"), number_field(found, "attempt")) if role else None


def named_agents(agents: Mapping[str, KnownAgent], name: str) -> list[str]:
    """Return the agents that a name means: a whole name, what follows the role (`T1.1`, `scout.2`), or a role."""
    wanted = name.casefold().strip()
    whole = [known for known in agents if known.casefold() == wanted]
    after_role = [known for known in agents if known.casefold().partition(" ")[2] == wanted]
    return whole or after_role or [known for known, agent in agents.items() if agent.key.role.casefold() == wanted]


def prompt_entries(prompt: Prompt) -> tuple[TranscriptEntry, ...]:
    """Return what an agent was asked first."""
    entries = [
        TranscriptEntry(EntryKind.INSTRUCTIONS, prompt.instructions),
        *(TranscriptEntry(EntryKind.FACT, fact) for fact in prompt.facts),
        TranscriptEntry(EntryKind.ASKED, prompt.task),
    ]
    return tuple(entry for entry in entries if entry.text)


def entries_of(items: Iterable[JSONObject]) -> list[TranscriptEntry]:
    """Return the items of a transcript as people read them; what a service does not show is left out."""
    return [entry for item in items if (entry := _entry(item)) is not None]


def _entry(item: JSONObject) -> TranscriptEntry | None:
    kind = item.get("type")
    if (call := tool_call_of(item)) is not None:
        return TranscriptEntry(EntryKind.CALL, call_text(call.arguments), call.name)
    match kind:
        case "message":
            said = EntryKind.SAID if item.get("role") == "assistant" else EntryKind.ASKED
            return TranscriptEntry(said, _text(item.get("content")))
        case "reasoning":
            text = "\n\n".join(filter(None, (_text(item.get("summary")), _text(item.get("content")))))
            return TranscriptEntry(EntryKind.REASONING, text) if text else None
        case str() if kind in OUTPUT_TYPES.values():
            return TranscriptEntry(EntryKind.OUTPUT, _text(item.get("output")))
        case str() if kind.endswith("_call"):
            shown = {name: value for name, value in item.items() if name not in {"type", "id", "status"}}
            return TranscriptEntry(EntryKind.CALL, _fields_text(shown), kind.removesuffix("_call"))
        case _:
            shown = {name: value for name, value in item.items() if name != "encrypted_content"}
            return TranscriptEntry(EntryKind.NOTE, json.dumps(shown, ensure_ascii=False))


def call_text(arguments: str) -> str:
    """Return a call's arguments as they are read: a command or a patch as it is, then what else was given."""
    try:
        given = json.loads(arguments)
    except ValueError:
        return arguments
    if not isinstance(given, dict):
        return arguments
    main = next((name for name in ("cmd", "command", "input", "patch") if name in given), None)
    if main is None:
        return _fields_text(given)
    value = given.pop(main)
    text = shlex.join(map(str, value)) if isinstance(value, list) else str(value)
    rest = _fields_text(given)
    return f"{text}\n{rest}" if rest else text


def _fields_text(given: Mapping[str, JSONValue]) -> str:
    shown = (
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in given.items()
        if value is not None
    )
    return "\n".join(shown)


def _text(content: JSONValue) -> str:
    """Return the text of a message or an output: a text, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(filter(None, (_part(part) for part in parts if isinstance(part, dict))))


def _part(part: JSONObject) -> str:
    for name in ("text", "refusal"):
        if isinstance(text := part.get(name), str):
            return text
    if part.get("type") == "input_image":
        return f"[a picture, {len(str(part.get('image_url', ''))):,} bytes]"
    return json.dumps(part, ensure_ascii=False)
