"""A run as spans of one trace, after OpenTelemetry's conventions for generative AI: read from its facts, in order.

The run is an `invoke_workflow` span, a later session of it another one below the first; in them are agents
(`invoke_agent`, `plan`), their calls (`chat`) and tool calls (`execute_tool`), gates, merges, set-ups, and times in which a
person was waited for. A span is given once, when it ends: the beginning of a session is a span of its own, so that a run is
seen while it lasts. Trace and spans have computed ids: who reads the facts of a run again, after a crash, gives the same
spans. What models and people wrote is left out unless it is asked for.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import BESIDE_A_TASK, JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import number_field, text_field
from codexteam.report.rows import SESSION_ENDS
from codexteam.report.spent import Spent, usage_of

SpanValue: TypeAlias = str | bool | int | float

#: The name that every run has as a workflow.
WORKFLOW = "codexteam"
#: What comes of an attempt in the merge train, by the fact that says so.
_MERGE_ENDS = ("merged", "conflicted", "acceptance_failed", "refused", "failed", "dropped", "waiting")
#: How a session that needs no attention ends, by its exit code: green, or a person is waited for.
_QUIET_CODES = (0, 5)
#: Areas of facts that only a process at work writes.
_AT_WORK = frozenset({"run", "agent", "task", "gate", "environment", "acceptance"})


@dataclass(frozen=True, slots=True)
class SpanNote:
    """Something that happened within a span."""

    name: str
    at_seconds: float
    values: Mapping[str, SpanValue]


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that a span follows from."""

    span_id: int
    why: str


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A span that has ended. Times are seconds since 1970."""

    span_id: int
    parent_id: int
    """0 for the root of the trace."""
    name: str
    start_seconds: float
    end_seconds: float
    values: Mapping[str, SpanValue]
    notes: tuple[SpanNote, ...] = ()
    links: tuple[SpanLink, ...] = ()
    error: str = ""
    """A class of error; empty where it ended well."""
    is_call: bool = False
    """Whether another program did the work: a model service."""
    sequence: int = 0
    """The number of the fact that ended it."""


@dataclass(slots=True)
class _OpenSpan:
    span_id: int
    parent_id: int
    name: str
    start_seconds: float
    values: dict[str, SpanValue]
    notes: list[SpanNote] = field(default_factory=list)
    links: list[SpanLink] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)


class SpanReader:
    """Reads a run's facts in order, from the first."""

    def __init__(self, run_id: str, *, providers: Mapping[str, str], provider: str, with_content: bool = False) -> None:
        """Read the facts of a run.

        Args:
            run_id: the run.
            providers: role to the name of its provider, as the conventions call it.
            provider: that of other roles.
            with_content: whether goals, commands, questions and answers are among what is said of a span.
        """
        self._run_id = run_id
        self._providers = providers
        self._provider = provider
        self._with_content = with_content
        self._sessions = 0
        self._session: _OpenSpan | None = None
        self._open: dict[tuple[str, str], _OpenSpan] = {}
        """What is under way, by its area and its name there."""
        self._dependencies: dict[str, list[str]] = {}
        self._attempts: dict[str, int] = {}
        """Task to the span of its newest agent."""
        self._interrupted: dict[str, int] = {}
        """Agents that a session's end cut off, with their spans: they continue."""
        self._worked_seconds = 0.0
        """When the run was last known to be worked on."""

    @property
    def trace_id(self) -> int:
        """Return the id of the trace: the same in every session."""
        return _number(16, self._run_id)

    @property
    def root_id(self) -> int:
        """Return the id of the span of the run's first session."""
        return _number(8, self._run_id, "session", "1")

    @property
    def run_id(self) -> str:
        """Return the run that is read."""
        return self._run_id

    def span_of(self, fact: RunEvent) -> int:
        """Return the span that a fact happened in: of its agent where one is at work, else of the session."""
        agent = self._open.get(("agent", text_field(fact.fields, "agent")))
        return agent.span_id if agent is not None else self._parent()

    def take(self, fact: RunEvent) -> list[RunSpan]:
        """Return the spans that end with a fact."""
        found = [*self._take(fact)]
        if fact.kind.partition(".")[0] in _AT_WORK and fact.kind != "agent.unanswered":
            self._worked_seconds = fact.at_seconds
        return found

    def _take(self, fact: RunEvent) -> Iterator[RunSpan]:
        area, _, what = fact.kind.partition(".")
        match area:
            case "run":
                yield from self._run(fact)
            case "agent":
                yield from self._agent(fact, what)
            case "task":
                yield from self._task(fact, what)
            case "gate":
                yield from self._gate(fact, what)
            case "environment":
                yield from self._setup(fact, what)
            case "person":
                yield from self._person(fact, what)
            case _:
                return

    def _run(self, fact: RunEvent) -> Iterator[RunSpan]:
        if fact.kind == "run.opened":
            yield from self._end_session(fact, self._worked_seconds, "killed")
            yield self._begin_session(fact)
        elif fact.kind in SESSION_ENDS:
            code = number_field(fact.fields, "exit_code")
            result = text_field(fact.fields, "result") or "broken_off"
            values: dict[str, SpanValue] = {"codexteam.result": result, "codexteam.exit_code": code}
            if self._with_content:
                values["codexteam.reason"] = text_field(fact.fields, "reason")
            yield from self._end_session(
                fact, fact.at_seconds, "interrupted", values, error="" if code in _QUIET_CODES else result
            )

    def _begin_session(self, fact: RunEvent) -> RunSpan:
        self._sessions += 1
        values: dict[str, SpanValue] = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": WORKFLOW,
            "codexteam.run.id": self._run_id,
            "codexteam.session.number": self._sessions,
        }
        if self._with_content:
            goal = {"role": "user", "parts": [{"type": "text", "content": text_field(fact.fields, "goal")}]}
            values["gen_ai.input.messages"] = json.dumps([goal])
        span_id = _number(8, self._run_id, "session", str(self._sessions))
        parent_id = 0 if self._sessions == 1 else self.root_id
        name = f"invoke_workflow {WORKFLOW}"
        self._session = _OpenSpan(span_id, parent_id, name, fact.at_seconds, dict(values))
        begun = self._named("start", fact)
        name = f"workflow_start.{WORKFLOW}"
        return RunSpan(begun, span_id, name, fact.at_seconds, fact.at_seconds, values, sequence=fact.sequence)

    def _end_session(
        self,
        fact: RunEvent,
        at_seconds: float,
        why: str,
        values: Mapping[str, SpanValue] | None = None,
        *,
        error: str | None = None,
    ) -> Iterator[RunSpan]:
        """End what is under way, and the session, with its own `error` or that of all the others."""
        session = self._session
        if session is None:
            return
        for area, name in [*self._open]:
            if area == "agent":
                self._interrupted[name] = self._open[area, name].span_id
            yield from self._end(area, name, fact, at_seconds, error=why)
        session.values |= values or {}
        self._session = None
        yield self._ended(session, fact, at_seconds, why if error is None else error)

    def _agent(self, fact: RunEvent, what: str) -> Iterator[RunSpan]:
        fields, name = fact.fields, text_field(fact.fields, "agent")
        match what:
            case "started":
                yield from self._end("agent", name, fact, fact.at_seconds, error="restarted")
                self._begin_agent(fact, name)
            case "turn":
                yield self._chat(fact, name)
            case "acted" if call := text_field(fields, "call"):
                yield from self._end("tool", f"{name} {call}", fact, fact.at_seconds, error="interrupted")
                self._begin_tool(fact, name, call)
            case "tool_finished":
                call = f"{name} {text_field(fields, 'call')}"
                error = "tool_error" if fields.get("failed") is True else ""
                yield from self._end("tool", call, fact, fact.at_seconds, error=error)
            case "finished":
                outcome = text_field(fields, "outcome")
                for area, tool in [*self._open]:
                    if area == "tool" and tool.startswith(f"{name} "):
                        yield from self._end(area, tool, fact, fact.at_seconds, error="interrupted")
                more: dict[str, SpanValue] = {"codexteam.turns": number_field(fields, "turns")}
                error = "" if outcome == "Submitted" else outcome
                yield from self._end("agent", name, fact, fact.at_seconds, more, error=error)
            case "waiting" | "stalled" | "compacted" | "unanswered":
                self._note(fact, name, what)
            case _:
                return

    def _begin_agent(self, fact: RunEvent, name: str) -> None:
        fields = fact.fields
        role, task = text_field(fields, "role"), text_field(fields, "task")
        operation = "plan" if text_field(fields, "purpose") in {"plan", "replan"} else "invoke_agent"
        values: dict[str, SpanValue] = {
            "gen_ai.operation.name": operation,
            "gen_ai.agent.name": role,
            "gen_ai.agent.id": name,
            **self._of_agent(fields, name),
            "codexteam.purpose": text_field(fields, "purpose"),
            "codexteam.attempt": number_field(fields, "attempt"),
        }
        if task:
            values["codexteam.task.id"] = task
        gate = self._open.get(("gate", role))
        parent_id = gate.span_id if gate is not None else self._parent()
        span = _OpenSpan(self._named("agent", fact), parent_id, f"{operation} {role}", fact.at_seconds, values)
        if (before := self._interrupted.pop(name, None)) is not None:
            span.links.append(SpanLink(before, "continues"))
        for needed in self._dependencies.get(task, ()):
            if (done := self._attempts.get(needed)) is not None:
                span.links.append(SpanLink(done, "depends_on"))
        if task and text_field(fields, "purpose") not in BESIDE_A_TASK:
            self._attempts[task] = span.span_id
        self._open["agent", name] = span

    def _of_agent(self, fields: JSONObject, name: str) -> dict[str, SpanValue]:
        return {
            "gen_ai.provider.name": self._providers.get(text_field(fields, "role"), self._provider),
            "gen_ai.conversation.id": f"{self._run_id}/{name}",
            "gen_ai.request.model": text_field(fields, "model"),
            "codexteam.run.id": self._run_id,
        }

    def _chat(self, fact: RunEvent, name: str) -> RunSpan:
        fields = fact.fields
        agent = self._open.get(("agent", name))
        for taker in (agent, self._session):
            if taker is not None:
                taker.spent.add(fact)
        values: dict[str, SpanValue] = {
            "gen_ai.operation.name": "chat",
            **self._of_agent(fields, name),
            "gen_ai.agent.name": text_field(fields, "role"),
            "codexteam.turn": number_field(fields, "turn"),
        }
        if fields.get("usage") is not None:
            values |= _tokens(usage_of(fields.get("usage")))
        elif isinstance(counted := fields.get("counted"), dict):
            values["codexteam.usage.counted_tokens"] = number_field(counted, "tokens")
        for unit in ("usd", "credits"):
            if isinstance(cost := fields.get(unit), int | float):
                values[f"codexteam.cost.{unit}"] = float(cost)
        took = fields.get("seconds")
        begun = fact.at_seconds - (float(took) if isinstance(took, int | float) else 0.0)
        return RunSpan(
            self._named("chat", fact),
            agent.span_id if agent is not None else self._parent(),
            f"chat {text_field(fields, 'model')}",
            begun,
            fact.at_seconds,
            values,
            is_call=True,
            sequence=fact.sequence,
        )

    def _begin_tool(self, fact: RunEvent, name: str, call: str) -> None:
        tool = text_field(fact.fields, "tool")
        agent = self._open.get(("agent", name))
        values: dict[str, SpanValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call,
            "gen_ai.agent.name": text_field(fact.fields, "role"),
            "codexteam.run.id": self._run_id,
        }
        if self._with_content:
            values["gen_ai.tool.call.arguments"] = text_field(fact.fields, "action")
        parent_id = agent.span_id if agent is not None else self._parent()
        span = _OpenSpan(self._named("tool", fact), parent_id, f"execute_tool {tool}", fact.at_seconds, values)
        self._open["tool", f"{name} {call}"] = span

    def _note(self, fact: RunEvent, name: str, what: str) -> None:
        agent = self._open.get(("agent", name))
        if agent is None or (what == "waiting" and not text_field(fact.fields, "reason")):
            return
        numbers = ("wait_seconds", "tries", "seconds", "bytes_before", "bytes_after")
        values: dict[str, SpanValue] = {
            f"codexteam.{key}": value
            for key in numbers
            if isinstance(value := fact.fields.get(key), int | float) and not isinstance(value, bool)
        }
        if isinstance(counted := fact.fields.get("counted"), dict):
            values["codexteam.usage.counted_tokens"] = number_field(counted, "tokens")
        agent.notes.append(SpanNote(f"codexteam.{what}", fact.at_seconds, values))

    def _task(self, fact: RunEvent, what: str) -> Iterator[RunSpan]:
        fields, task = fact.fields, text_field(fact.fields, "task")
        if what == "added":
            needed = fields.get("deps")
            self._dependencies[task] = [str(one) for one in needed] if isinstance(needed, list) else []
        elif what == "accepted":
            yield from self._end("merge", task, fact, fact.at_seconds, error="replaced")
            span = self._begin("merge", task, fact, f"merge {task}", {"codexteam.task.id": task})
            if task in self._attempts:
                span.links.append(SpanLink(self._attempts[task], "merges"))
        elif what == "merging" and (train := self._open.get(("merge", task))) is not None:
            train.notes.append(SpanNote("codexteam.merging", fact.at_seconds, {}))
        elif what in _MERGE_ENDS:
            more: dict[str, SpanValue] = {"codexteam.outcome": what}
            error = "" if what in {"merged", "waiting"} else what
            yield from self._end("merge", task, fact, fact.at_seconds, more, error=error)

    def _gate(self, fact: RunEvent, what: str) -> Iterator[RunSpan]:
        fields, gate = fact.fields, text_field(fact.fields, "gate")
        if what == "started":
            yield from self._end("gate", gate, fact, fact.at_seconds, error="restarted")
            values: dict[str, SpanValue] = {
                "codexteam.gate": gate,
                "codexteam.round": number_field(fields, "round"),
                "codexteam.commit": text_field(fields, "commit"),
            }
            self._begin("gate", gate, fact, f"gate {gate}", values)
        elif what == "completed" and (span := self._open.get(("gate", gate))) is not None:
            verdict = text_field(fields, "verdict")
            judged: dict[str, SpanValue] = {
                "gen_ai.evaluation.name": gate,
                "gen_ai.evaluation.score.value": 1.0 if verdict == "ship" else 0.0,
                "gen_ai.evaluation.score.label": verdict,
                "codexteam.findings": number_field(fields, "findings"),
            }
            if self._with_content:
                judged["gen_ai.evaluation.explanation"] = text_field(fields, "note")
            span.notes.append(SpanNote("gen_ai.evaluation.result", fact.at_seconds, judged))
            error = "" if verdict in {"ship", "block"} else verdict
            yield from self._end("gate", gate, fact, fact.at_seconds, judged, error=error)

    def _setup(self, fact: RunEvent, what: str) -> Iterator[RunSpan]:
        key = text_field(fact.fields, "key")
        if what == "building":
            yield from self._end("setup", key, fact, fact.at_seconds, error="restarted")
            self._begin("setup", key, fact, "set up environment", {"codexteam.environment.key": key})
        elif what in {"ready", "failed"}:
            kept: dict[str, SpanValue] = {"codexteam.environment.kept": fact.fields.get("kept") is True}
            yield from self._end(
                "setup", key, fact, fact.at_seconds, kept, error="setup_failed" if what == "failed" else ""
            )

    def _person(self, fact: RunEvent, what: str) -> Iterator[RunSpan]:
        item = text_field(fact.fields, "item")
        if what == "asked" and self._session is not None and ("person", item) not in self._open:
            values: dict[str, SpanValue] = {"codexteam.item": item}
            if self._with_content:
                values["codexteam.question"] = text_field(fact.fields, "question")
            self._begin("person", item, fact, "wait for person", values)
        elif what == "answered":
            yield from self._end("person", item, fact, fact.at_seconds, {"codexteam.answered": True})

    def _begin(self, area: str, name: str, fact: RunEvent, title: str, values: dict[str, SpanValue]) -> _OpenSpan:
        whole: dict[str, SpanValue] = {**values, "codexteam.run.id": self._run_id}
        span = _OpenSpan(self._named(area, fact), self._parent(), title, fact.at_seconds, whole)
        self._open[area, name] = span
        return span

    def _end(
        self,
        area: str,
        name: str,
        fact: RunEvent,
        at_seconds: float,
        values: Mapping[str, SpanValue] | None = None,
        *,
        error: str = "",
    ) -> Iterator[RunSpan]:
        span = self._open.pop((area, name), None)
        if span is not None:
            span.values |= values or {}
            # who is waited for when a session ends has done nothing wrong
            yield self._ended(span, fact, at_seconds, "" if area == "person" else error)

    def _ended(self, span: _OpenSpan, fact: RunEvent, at_seconds: float, error: str) -> RunSpan:
        values = dict(span.values)
        if values.get("gen_ai.operation.name") in {"invoke_agent", "plan", "invoke_workflow"}:
            values |= _tokens(span.spent.usage)
            values |= {
                f"codexteam.cost.{unit}": cost
                for unit, cost in (("usd", span.spent.usd), ("credits", span.spent.credits))
                if cost is not None
            }
        if error:
            values["error.type"] = error
        return RunSpan(
            span.span_id,
            span.parent_id,
            span.name,
            span.start_seconds,
            max(span.start_seconds, at_seconds),
            values,
            tuple(span.notes),
            tuple(span.links),
            error,
            sequence=fact.sequence,
        )

    def _parent(self) -> int:
        return self._session.span_id if self._session is not None else self.root_id

    def _named(self, area: str, fact: RunEvent) -> int:
        return _number(8, self._run_id, area, str(fact.sequence))


def _number(size: int, *words: str) -> int:
    """Return an id of so many bytes, which is the same for the same words and never 0."""
    digest = hashlib.sha256("\0".join(("codexteam", *words)).encode()).digest()
    return int.from_bytes(digest[:size]) or 1


def _tokens(usage: Usage) -> dict[str, SpanValue]:
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
