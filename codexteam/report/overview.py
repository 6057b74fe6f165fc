"""A run in a row and on a screen: what `runs` and `status` show, from the stored state and what the run reported."""

from dataclasses import dataclass

from codexteam.core.ids import branch_name
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.state import FindingStatus, RunState, TaskPhase, TaskState
from codexteam.core.usage import Usage
from codexteam.errors import StoreError
from codexteam.ports.store import RunRecord, StoredSitting
from codexteam.report.board import Board

#: How a task's phase is called.
PHASE_WORDS = {
    TaskPhase.PENDING: "todo",
    TaskPhase.WORKING: "working",
    TaskPhase.ASKING: "asking",
    TaskPhase.ON_HOLD: "waits",
    TaskPhase.QUEUED: "accepted",
    TaskPhase.INTEGRATING: "merging",
    TaskPhase.MERGED: "merged",
    TaskPhase.FAILED: "failed",
    TaskPhase.BLOCKED: "blocked",
    TaskPhase.DROPPED: "dropped",
}
#: Phases in which somebody is at it; in a run that nobody drives, it goes on at `resume`.
_AT_WORK = frozenset({TaskPhase.WORKING, TaskPhase.ASKING, TaskPhase.INTEGRATING})


@dataclass(frozen=True, slots=True)
class UnreadableRun:
    """One run whose stored state this version cannot read, beside others that it can."""

    record: RunRecord
    error: StoreError

    @property
    def why(self) -> str:
        """Say what was found, and what to do."""
        hint = f"; {self.error.hint}" if self.error.hint else ""
        return f"run {self.record.run_id} cannot be read: {self.error}{hint}"

    def row_json(self) -> JSONObject:
        """Give what `runs --json` prints of it."""
        return {
            "type": "run",
            "run": self.record.run_id,
            "state": UNREADABLE,
            "goal": self.record.goal,
            "created_at": self.record.created_at_seconds,
            "base": self.record.base,
            "error": str(self.error),
            "hint": self.error.hint,
        }


#: Stands for the state of a run that cannot be read.
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run as it is now. All texts are still foreign."""

    record: RunRecord
    state: RunState
    board: Board
    live: bool
    """A process works on it at this moment."""
    sittings: tuple[StoredSitting, ...] = ()

    @property
    def word(self) -> str:
        """Give its state in a word: a run that nobody drives and that did not end is interrupted."""
        if self.live:
            return "paused" if self.state.paused else "running"
        if self.record.state == "running":
            return "interrupted"
        # an answer came while nobody drove it: it waits for `resume` alone
        if self.record.state == "waiting" and not self.state.holds and not self.state.paused:
            return "interrupted"
        return self.record.state

    @property
    def broken_off(self) -> str:
        """Say how the last sitting of an interrupted run ended; empty for others, and where nobody noted it."""
        if self.word != "interrupted" or not self.sittings:
            return ""
        last = self.sittings[-1]
        if last.ended_at_seconds is None:
            return f"process {last.pid} on {last.host} was killed, or its machine went down"
        return last.ending

    @property
    def counted(self) -> list[TaskState]:
        """Give its tasks but for the dropped ones."""
        return [known for known in self.state.tasks.values() if known.phase is not TaskPhase.DROPPED]

    @property
    def merged(self) -> int:
        """Give how many tasks are merged."""
        return sum(known.phase is TaskPhase.MERGED for known in self.state.tasks.values())

    @property
    def branch(self) -> str:
        """Give the name of its branch in the user's repository; empty while it is not there."""
        return branch_name(self.record.run_id) if self.state.landed else ""

    def row_json(self) -> JSONObject:
        """Give what `runs --json` prints of it."""
        return {
            "type": "run",
            "run": self.record.run_id,
            "state": self.word,
            "goal": self.record.goal,
            "created_at": self.record.created_at_seconds,
            "base": self.record.base,
            "tasks": len(self.counted),
            "merged": self.merged,
            "waiting": list(self.state.holds),
            "usage": usage_json(self.board.usage),
            "usd": self.board.usd,
            "at_most_more": self.board.unknown.as_json(),
        }

    def status_json(self) -> JSONObject:
        """Give what `status --json` prints of it."""
        state = self.state
        stop = state.stop.reason if state.stop else ""
        return {
            **self.row_json(),
            "type": "status",
            "phase": state.phase.value,
            "reason": state.result_reason or stop,
            "round": state.round,
            "tip": state.tip,
            "branch": self.branch,
            "branch_commit": state.landed,
            "budget": self.board.budget,
            "tasks": [task_json(known, live=self.live) for known in state.tasks.values()],
            "gates": [
                {"gate": gate.value, "verdict": record.verdict.value, "commit": record.commit}
                for gate, record in state.gates.items()
            ],
            "findings": [
                {
                    "finding": finding_id,
                    "status": known.status.value,
                    "severity": known.finding.severity.value,
                    "category": known.finding.category.value,
                    "title": known.finding.title,
                    "file": known.finding.file,
                    "line": known.finding.line,
                    "gate": known.finding.gate.value,
                    "times": known.times,
                }
                for finding_id, known in state.findings.items()
            ],
            "waiting": [
                {"item": item, "question": hold.question, "task": hold.task_id} for item, hold in state.holds.items()
            ],
            "sittings": [_sitting_json(sitting) for sitting in self.sittings],
            "agents": [self._agent(name) for name in self.at_work],
        }

    @property
    def at_work(self) -> list[str]:
        """Give the agents that work now, by name; none when nobody drives the run."""
        return [name for name, agent in self.board.agents.items() if not agent.done] if self.live else []

    def _agent(self, name: str) -> JSONObject:
        agent = self.board.agents[name]
        return {
            "agent": name,
            "role": agent.role,
            "purpose": agent.purpose,
            "task": agent.task,
            "attempt": agent.attempt,
            "turn": agent.turn,
            "action": agent.action,
            "usage": usage_json(agent.usage),
            "usd": agent.usd,
            "at_most_more": agent.unknown.bound.as_json(),
        }

    @property
    def open_findings(self) -> list[str]:
        """Give the ids of open findings."""
        return [str(i) for i, known in self.state.findings.items() if known.status is FindingStatus.OPEN]


def task_word(known: TaskState, *, live: bool) -> str:
    """Give where a task is in a word; `live` is whether a process works on its run."""
    return PHASE_WORDS[known.phase] if live or known.phase not in _AT_WORK else "interrupted"


def task_json(known: TaskState, *, live: bool) -> JSONObject:
    """Give a task for programs."""
    deps: list[JSONValue] = [str(dep) for dep in known.task.deps]
    return {
        "task": known.task.id,
        "title": known.task.title,
        "role": known.task.role,
        "status": task_word(known, live=live),
        "attempt": known.attempt,
        "reason": known.reason,
        "deps": deps,
        "commit": known.commit,
    }


def _sitting_json(sitting: StoredSitting) -> JSONObject:
    return {
        "sitting": sitting.number,
        "version": sitting.version,
        "host": sitting.host,
        "pid": sitting.pid,
        "started_at": sitting.started_at_seconds,
        "ended_at": sitting.ended_at_seconds,
        "ending": sitting.ending,
    }


def usage_json(usage: Usage) -> JSONObject:
    """Give tokens for programs."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
