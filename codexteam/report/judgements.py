"""What the gates said round by round, and what became of each finding. All texts are foreign."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from codexteam.core.ids import JSONObject
from codexteam.core.state import FindingState, RunState
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import number_field, text_field
from codexteam.report.rows import FailingRow, GateCommandRow


@dataclass(frozen=True, slots=True)
class RoundVerdict:
    """What one gate said in one round."""

    gate: str
    verdict: str
    commit: str
    note: str = ""
    confidence: str = ""
    seconds: float = 0.0
    commands: tuple[GateCommandRow, ...] = ()
    failing: tuple[FailingRow, ...] = ()
    findings: int = 0

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        return {
            "gate": self.gate,
            "verdict": self.verdict,
            "commit": self.commit,
            "note": self.note,
            "confidence": self.confidence,
            "seconds": round(self.seconds, 3),
            "findings": self.findings,
            "commands": [
                {"command": row.command, "ok": row.ok, "how": row.how, "seconds": row.seconds} for row in self.commands
            ],
            "failing": [
                {"command": row.command, "reason": row.reason, "as_before": row.as_before} for row in self.failing
            ],
        }


@dataclass(frozen=True, slots=True)
class GateRound:
    """One round of gates: what each said of its commit."""

    number: int
    commit: str
    verdicts: tuple[RoundVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate that it asked let the commit pass."""
        return bool(self.verdicts) and all(verdict.verdict == "ship" for verdict in self.verdicts)

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        verdicts = [verdict.as_json() for verdict in self.verdicts]
        return {"round": self.number, "commit": self.commit, "passed": self.passed, "verdicts": [*verdicts]}


@dataclass(frozen=True, slots=True)
class FindingStep:
    """One thing that happened to a finding."""

    what: str
    round: int
    at_seconds: float


@dataclass(slots=True)
class FindingLife:
    """A finding, and what became of it."""

    id: str
    known: FindingState
    steps: list[FindingStep] = field(default_factory=list)
    fixed_by: tuple[tuple[str, str], ...] = ()
    """Tasks that were to fix it, and the commit that each was merged as."""

    @property
    def place(self) -> str:
        """Return the file and line."""
        finding = self.known.finding
        return f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file or ""

    def as_json(self) -> JSONObject:
        """Return it for programs."""
        finding = self.known.finding
        return {
            "finding": self.id,
            "title": finding.title,
            "detail": finding.detail,
            "severity": finding.severity.value,
            "category": finding.category.value,
            "gate": finding.gate.value,
            "file": finding.file,
            "line": finding.line,
            "suggestion": finding.suggestion,
            "status": self.known.status.value,
            "times": self.known.times,
            "fingerprint": self.known.fingerprint,
            "life": [{"what": step.what, "round": step.round, "at": step.at_seconds} for step in self.steps],
            "fixed_by": [{"task": task, "commit": commit} for task, commit in self.fixed_by],
        }


def rounds_of(events: Iterable[RunEvent]) -> tuple[GateRound, ...]:
    """Return the rounds in order, each with what its gates said last."""
    began: dict[tuple[int, str], float] = {}
    found: dict[int, dict[str, RoundVerdict]] = {}
    took: dict[tuple[str, str], float] = {}
    """Commit and command to how long it took there."""
    for event in events:
        fields = event.fields
        gate, number = text_field(fields, "gate"), number_field(fields, "round")
        if event.kind == "gate.started":
            began[number, gate] = event.at_seconds
        elif event.kind == "gate.command" and fields.get("reused") is not True:
            if isinstance(seconds := fields.get("wall_seconds"), int | float):
                took[text_field(fields, "commit"), text_field(fields, "command")] = float(seconds)
        elif event.kind == "gate.completed":
            lasted = event.at_seconds - began.get((number, gate), event.at_seconds)
            found.setdefault(number, {})[gate] = _verdict_of(fields, gate, lasted, took)
    return tuple(
        GateRound(number, next(iter(by_gate.values())).commit, tuple(by_gate.values()))
        for number, by_gate in sorted(found.items())
    )


def _verdict_of(fields: JSONObject, gate: str, seconds: float, took: Mapping[tuple[str, str], float]) -> RoundVerdict:
    commit = text_field(fields, "commit")
    return RoundVerdict(
        gate,
        text_field(fields, "verdict"),
        commit,
        text_field(fields, "note"),
        text_field(fields, "confidence"),
        max(0.0, seconds),
        tuple(
            GateCommandRow(command, row.get("ok") is True, text_field(row, "how"), took.get((commit, command)))
            for row in _objects(fields, "commands")
            for command in (text_field(row, "command"),)
        ),
        tuple(
            FailingRow(text_field(row, "command"), text_field(row, "reason"), as_before=row.get("as_before") is True)
            for row in _objects(fields, "failing")
        ),
        number_field(fields, "findings"),
    )


def _objects(fields: JSONObject, name: str) -> list[JSONObject]:
    value = fields.get(name)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def finding_lives(state: RunState, events: Sequence[RunEvent], merged_as: dict[str, str]) -> tuple[FindingLife, ...]:
    """Return the findings in order; `merged_as` has the commit of each merged task."""
    lives = {str(finding_id): FindingLife(str(finding_id), known) for finding_id, known in state.findings.items()}
    number = 0
    for event in events:
        if event.kind == "gate.started":
            number = max(number, number_field(event.fields, "round"))
        elif event.kind.startswith("finding.") and (life := lives.get(text_field(event.fields, "finding"))):
            life.steps.append(FindingStep(event.kind.removeprefix("finding."), number, event.at_seconds))
    for finding_id, life in lives.items():
        life.fixed_by = tuple(
            (str(task_id), merged_as[str(task_id)])
            for task_id, known in state.tasks.items()
            if finding_id in {str(fixed) for fixed in known.task.fixes} and str(task_id) in merged_as
        )
    return tuple(lives.values())
