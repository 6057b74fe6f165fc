"""A run as a trajectory in Harbor's format, ATIF v1.8: one document, in which each agent is an embedded sub-agent.

The root has the user's goal, then a step without a model call for each agent that was started, which refers to the agent's
own trajectory. In that, a step is a turn: what was said, reasoned and called, what the calls returned, and what it cost.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from codexteam.agent.prefix import Prompt
from codexteam.agent.tools.toolbox import OUTPUT_TYPES, tool_call_of
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.report.transcripts import EntryKind, entries_of

SCHEMA = "ATIF-v1.8"


@dataclass(frozen=True, slots=True)
class AtifTurn:
    """One turn of an agent, as it is stored."""

    answer: tuple[JSONObject, ...]
    """The items that the model answered with."""
    outputs: tuple[JSONObject, ...]
    """What was put in after them: outputs of tools, messages."""
    usage: Usage | None = None
    usd: float | None = None
    at_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AtifAgent:
    """One agent of a run."""

    name: str
    """As `implementer T1.1`; unique in the run."""
    model: str
    effort: str
    outcome: str
    started_at_seconds: float
    prompt: Prompt | None
    turns: tuple[AtifTurn, ...] = ()


@dataclass(frozen=True, slots=True)
class AtifRun:
    """What a trajectory is made of."""

    run_id: str
    goal: str
    created_at_seconds: float
    version: str
    result: str
    reason: str
    agents: tuple[AtifAgent, ...]
    usage: Usage
    usd: float | None
    extra: JSONObject = field(default_factory=dict)


def trajectory(run: AtifRun) -> JSONObject:
    """Return the run's trajectory."""
    steps: list[JSONObject] = [_step("user", run.goal, run.created_at_seconds)]
    for agent in run.agents:
        reference: JSONObject = {"trajectory_id": _identity(run, agent), "session_id": run.run_id}
        content = f"{agent.name}: {agent.outcome or 'at work'}"
        steps.append(
            {
                **_step("agent", f"Started {agent.name}.", agent.started_at_seconds),
                "llm_call_count": 0,
                "observation": {"results": [{"content": _text(content), "subagent_trajectory_ref": [reference]}]},
            }
        )
    if run.result:
        said = f"The run ended: {run.result}. {run.reason}".strip()
        steps.append({**_step("agent", said, None), "llm_call_count": 0})
    return {
        "schema_version": SCHEMA,
        "session_id": run.run_id,
        "trajectory_id": run.run_id,
        "agent": {"name": "codexteam", "version": run.version},
        "steps": _numbered(steps),
        "final_metrics": {**_totals(run.usage, run.usd), "total_steps": len(steps)},
        "subagent_trajectories": [_of_agent(run, agent) for agent in run.agents],
        "extra": run.extra,
    }


def _identity(run: AtifRun, agent: AtifAgent) -> str:
    return f"{run.run_id}/{agent.name}"


def _of_agent(run: AtifRun, agent: AtifAgent) -> JSONObject:
    steps: list[JSONObject] = []
    if agent.prompt is not None:
        asked = [("system", agent.prompt.instructions), *(("user", fact) for fact in agent.prompt.facts)]
        steps += [_step(source, text, None) for source, text in (*asked, ("user", agent.prompt.task)) if text]
    for turn in agent.turns:
        steps += _of_turn(turn, agent)
    if not steps:
        steps.append(_step("system", "Nothing of this agent is stored.", agent.started_at_seconds))
    usage = sum((turn.usage for turn in agent.turns if turn.usage is not None), Usage())
    prices = [turn.usd for turn in agent.turns if turn.usage is not None]
    usd = None if any(price is None for price in prices) else sum(price for price in prices if price is not None)
    return {
        "schema_version": SCHEMA,
        "session_id": run.run_id,
        "trajectory_id": _identity(run, agent),
        "agent": {"name": agent.name, "version": run.version, **({"model_name": agent.model} if agent.model else {})},
        "steps": _numbered(steps),
        "final_metrics": {**_totals(usage, usd), "total_steps": len(steps)},
    }


def _of_turn(turn: AtifTurn, agent: AtifAgent) -> list[JSONObject]:
    """Return a step for what the model said, with what its calls returned, and one for each message put in after it."""
    calls = [call for item in turn.answer if (call := tool_call_of(item)) is not None]
    entries = entries_of(item for item in turn.answer if tool_call_of(item) is None)
    said = "\n\n".join(
        entry.text for entry in entries if entry.kind in {EntryKind.SAID, EntryKind.CALL, EntryKind.NOTE}
    )
    thought = "\n\n".join(entry.text for entry in entries if entry.kind is EntryKind.REASONING)
    step = _step("agent", said, turn.at_seconds)
    step["llm_call_count"] = 1
    if agent.effort:
        step["reasoning_effort"] = agent.effort
    if thought:
        step["reasoning_content"] = _text(thought)
    if calls:
        step["tool_calls"] = [
            {
                "tool_call_id": call.call_id or f"call-{number}",
                "function_name": call.name,
                "arguments": _arguments(call.arguments),
            }
            for number, call in enumerate(calls, start=1)
        ]
    known = {call.call_id for call in calls}
    results = [_result(item, known) for item in turn.outputs if _is_output(item)]
    if results:
        step["observation"] = {"results": list(results)}
    if turn.usage is not None:
        step["metrics"] = _metrics(turn.usage, turn.usd)
    put_in = entries_of(item for item in turn.outputs if not _is_output(item))
    return [step, *(_step("user", entry.text, None) for entry in put_in)]


def _is_output(item: JSONObject) -> bool:
    return item.get("type") in OUTPUT_TYPES.values()


def _result(item: JSONObject, known: Iterable[str]) -> JSONObject:
    text = "\n".join(entry.text for entry in entries_of([item]))
    call_id = item.get("call_id")
    return {
        **({"source_call_id": call_id} if isinstance(call_id, str) and call_id in known else {}),
        "content": _text(text),
    }


def _arguments(text: str) -> JSONObject:
    """Return a call's arguments as an object; those of a custom tool are a text."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"input": _text(text)}


def _step(source: str, message: str, at_seconds: float | None) -> JSONObject:
    step: JSONObject = {"source": source, "message": _text(message)}
    if at_seconds is not None:
        step["timestamp"] = f"{datetime.fromtimestamp(at_seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return step


def _text(text: str) -> str:
    """Return a text that every reader of JSON takes: half of a surrogate pair is none."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _numbered(steps: Sequence[JSONObject]) -> list[JSONValue]:
    return [{"step_id": number, **step} for number, step in enumerate(steps, start=1)]


def _metrics(usage: Usage, usd: float | None) -> JSONObject:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_input_tokens,
        **({"cost_usd": usd} if usd is not None else {}),
    }


def _totals(usage: Usage, usd: float | None) -> JSONObject:
    return {
        "total_prompt_tokens": usage.input_tokens,
        "total_completion_tokens": usage.output_tokens,
        "total_cached_tokens": usage.cached_input_tokens,
        **({"total_cost_usd": usd} if usd is not None else {}),
    }


def tokens_by_model(found: JSONObject) -> dict[str, dict[str, float | None]]:
    """Return what a trajectory's agents took, by model: `prompt`, `cached`, `completion`, `usd`."""
    sums: dict[str, dict[str, float | None]] = {}
    agents = found.get("subagent_trajectories")
    for one in agents if isinstance(agents, list) else []:
        match one:
            case {"agent": {"model_name": str() as model}, "final_metrics": dict() as metrics}:
                known = sums.setdefault(model, {"prompt": 0, "cached": 0, "completion": 0, "usd": 0.0})
                for name in ("prompt", "cached", "completion"):
                    known[name] = (known[name] or 0) + _number(metrics.get(f"total_{name}_tokens"))
                cost = metrics.get("total_cost_usd")
                usd = known["usd"]
                known["usd"] = usd + cost if usd is not None and isinstance(cost, int | float) else None
            case _:
                continue
    return sums


def _number(value: JSONValue) -> int:
    return value if isinstance(value, int) else 0
