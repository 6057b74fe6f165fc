"""A run in a row and on a screen: what `runs` and `status` show, from the stored state and what the run reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from codexteam.core.activity import Activity
from codexteam.core.codec import encode
from codexteam.core.contest import Contest
from codexteam.core.events import FailingCommand
from codexteam.core.ids import JSONObject, JSONValue, branch_name
from codexteam.core.state import FindingStatus, Hold, RunState, TaskPhase, TaskState
from codexteam.errors import StoreError
from codexteam.ports.store import RunRecord, StoredSession
from codexteam.report.progress import Progress
from codexteam.run.heartbeat import BlockedOutput, Heartbeat

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
#: Phases in which somebody is at it; in a run that is not running, they continue at `resume`.
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
        """Return what `runs --json` prints of it."""
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
class Life:
    """What a run's process shows of itself at the moment of looking."""

    now_seconds: float = 0.0
    heartbeat: Heartbeat | None = None
    """The newest of the session that runs; None before its first."""
    suspended: bool = False
    blocked: BlockedOutput | None = None
    """It waits for the reader of its output."""

    @property
    def word(self) -> str:
        """Return `suspended`, `blocked` or `stalled`; empty for a process that is well."""
        if self.suspended or self.blocked is not None:
            return "suspended" if self.suspended else "blocked"
        beat = self.heartbeat
        if beat is None:
            return ""
        all_silent = bool(beat.agents) and len(beat.stalled(self.now_seconds)) == len(beat.agents)
        return "stalled" if beat.is_missed(self.now_seconds) or all_silent else ""

    def word_of_run(self, *, paused: bool) -> str:
        """Return the state in a word of a run that a process works on."""
        return self.word or ("paused" if paused else "running")

    @property
    def trouble(self) -> str:
        """Say what is wrong with the process; empty where nothing is."""
        beat = self.heartbeat
        if self.suspended:
            return "its process is suspended (Ctrl-Z?); fg in its terminal continues it"
        if self.blocked is not None:
            seconds = round(self.now_seconds - self.blocked.since_seconds)
            return f"nobody has read its output for {seconds} s: it continues when the reader of its pipe does"
        if beat is not None and beat.is_missed(self.now_seconds):
            seconds = round(self.now_seconds - beat.at_seconds)
            return f"its process has given no sign for {seconds} s, and should every {beat.every_seconds:.0f} s"
        return ""

    def activity(self, agent: str) -> Activity | None:
        """Return what an agent did at the last heartbeat."""
        beats = self.heartbeat.agents if self.heartbeat is not None else ()
        return next((one for one in beats if one.agent == agent), None)

    def stalls(self, agent: str) -> bool:
        """Return whether an agent is silent for too long."""
        beat = self.heartbeat
        return beat is not None and any(one.agent == agent for one in beat.stalled(self.now_seconds))


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run as it is now. All texts are still foreign."""

    record: RunRecord
    state: RunState
    progress: Progress
    live: bool
    """A process works on it at this moment."""
    sessions: tuple[StoredSession, ...] = ()
    branch_gone: bool = False
    """It was cleaned, and its branch with it."""
    life: Life = field(default_factory=Life)

    @property
    def word(self) -> str:
        """Return its state in a word: a run that nobody drives and that did not end is interrupted."""
        if self.live:
            return self.life.word_of_run(paused=self.state.paused)
        if self.record.state == "running":
            return "interrupted"
        # an answer came while nobody drove it: it waits for `resume` alone
        if self.record.state == "waiting" and not self.state.holds and not self.state.paused:
            return "interrupted"
        return self.record.state

    @property
    def broken_off(self) -> str:
        """Say how the last session of an interrupted run ended; empty for others, or if it was not recorded."""
        if self.word != "interrupted" or not self.sessions:
            return ""
        last = self.sessions[-1]
        if last.ended_at_seconds is None:
            return f"process {last.pid} on {last.host} was killed, or its machine went down"
        return last.ending

    @property
    def counted(self) -> list[TaskState]:
        """Return its tasks but for the dropped ones."""
        return [known for known in self.state.tasks.values() if known.phase is not TaskPhase.DROPPED]

    @property
    def merged(self) -> int:
        """Return how many tasks are merged."""
        return sum(known.phase is TaskPhase.MERGED for known in self.state.tasks.values())

    @property
    def branch(self) -> str:
        """Return the name of its branch in the user's repository; empty while it is not there."""
        return branch_name(self.record.run_id) if self.state.landed and not self.branch_gone else ""

    @property
    def branch_words(self) -> str:
        """Return where its branch is: at which commit, or in which of several repositories."""
        names = self.state.landed_repositories
        return f"in {', '.join(names)}" if names else f"at {str(self.state.landed)[:10]}"

    def row_json(self) -> JSONObject:
        """Return what `runs --json` prints of it."""
        return {
            "type": "run",
            "run": self.record.run_id,
            "state": self.word,
            "goal": self.record.goal,
            "created_at": self.record.created_at_seconds,
            "base": self.record.base,
            "tasks": len(self.counted),
            "merged": self.merged,
            "waiting": list(self.holds),
            "usage": encode(self.progress.usage),
            "usd": self.progress.usd,
            "credits": self.progress.credits,
            "at_most_more": self.progress.unknown.as_json(),
        }

    def status_json(self) -> JSONObject:
        """Return what `status --json` prints of it."""
        state = self.state
        stop = state.stop.reason if state.stop else ""
        return {
            **self.row_json(),
            "type": "status",
            "forecast": None
            if (made := self.progress.forecast) is None
            else made.as_json(
                spent_tokens=self.progress.usage.total_tokens,
                spent_usd=self.progress.usd,
                spent_credits=self.progress.credits,
            ),
            "phase": state.phase.value,
            "reason": state.result_reason or stop,
            "round": state.round,
            "tip": state.tip,
            "branch": self.branch,
            "branch_commit": state.landed,
            **({"repositories": [*state.landed_repositories]} if state.landed_repositories else {}),
            "budget": self.progress.budget,
            "windows": self.progress.plan.windows,
            "plan_credits": self.progress.plan.credits,
            "plan_credits_used": self.progress.plan.credits_used,
            "tasks": [task_json(known, live=self.live) for known in state.tasks.values()],
            "gates": [
                {
                    "gate": gate.value,
                    "verdict": record.verdict.value,
                    "commit": record.commit,
                    "confidence": record.confidence,
                    "commands": [{"command": one.command, "ok": one.ok, "how": one.how} for one in record.commands],
                }
                for gate, record in state.gates.items()
            ],
            "risks": list(state.risks),
            "answer": state.answer,
            "plan_changes": list(state.plan_changes),
            "documentation_failure": state.documentation_failure,
            "release_notes": state.release_notes,
            "made_from": state.made_from,
            "baseline": [
                {
                    "command": check.command,
                    "ending": check.ending.value,
                    "exit_code": check.exit_code,
                    "reason": check.reason,
                    "tests": check.executed,
                    "failed": check.failed,
                    "failing": list(check.failing),
                    "output": check.output,
                    "gate": check.gate,
                    "later": check.later,
                }
                for check in state.base_checks.values()
            ],
            "failing": [
                {"command": one.command, "reason": one.reason, "as_before": one.as_before} for one in self.failing
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
                {"item": item, "question": hold.question, "task": hold.task_id} for item, hold in self.holds.items()
            ],
            "trouble": self.life.trouble,
            "heartbeat": None if self.life.heartbeat is None else self.life.heartbeat.at_seconds,
            "sittings": [_session_json(session) for session in self.sessions],
            "agents": [self._agent(name) for name in self.at_work],
            "waiting_agents": [encode(one) for one in self.waiting_agents],
            "commands": [
                {"command": one.command, "check": one.check, "since": one.since_seconds, "until": one.until_seconds}
                for one in (self.progress.commands.values() if self.live else ())
            ],
        }

    @property
    def failing(self) -> list[FailingCommand]:
        """Return the gate commands that fail, also those that failed before the run."""
        return [one for record in self.state.gates.values() for one in record.failing]

    @property
    def at_work(self) -> list[str]:
        """Return the agents that work now, by name; none when nobody drives the run."""
        return [name for name, agent in self.progress.agents.items() if not agent.done] if self.live else []

    @property
    def waiting_agents(self) -> tuple[Activity, ...]:
        """Return whose task waits for the merge train, or for a person; none when nobody drives the run."""
        beat = self.life.heartbeat
        return beat.waiting if beat is not None and self.live else ()

    def _agent(self, name: str) -> JSONObject:
        agent, doing = self.progress.agents[name], self.life.activity(name)
        return {
            "agent": name,
            "role": agent.role,
            "purpose": agent.purpose,
            "task": agent.task,
            "attempt": agent.attempt,
            "turn": agent.turn,
            "action": agent.action,
            "state": "" if doing is None else doing.doing.value,
            "since": None if doing is None else doing.since_seconds,
            "heard": None if doing is None else doing.heard_seconds,
            "stalled": self.life.stalls(name),
            "usage": encode(agent.usage),
            "usd": agent.usd,
            "credits": agent.credits,
            "at_most_more": agent.unknown.bound.as_json(),
        }

    @property
    def holds(self) -> Mapping[str, Hold]:
        """Return what waits for a person; nothing does in a run that was cleaned or rewound."""
        return {} if self.record.state in {"cleaned", "rewound"} else self.state.holds

    @property
    def waived_findings(self) -> list[str]:
        """Return the ids of findings that a person waived."""
        return [str(i) for i, known in self.state.findings.items() if known.status is FindingStatus.WAIVED]

    @property
    def open_findings(self) -> list[str]:
        """Return the ids of open findings."""
        return [str(i) for i, known in self.state.findings.items() if known.status is FindingStatus.OPEN]


def task_word(known: TaskState, *, live: bool) -> str:
    """Return where a task is in a word; `live` is whether a process works on its run."""
    return PHASE_WORDS[known.phase] if live or known.phase not in _AT_WORK else "interrupted"


def task_json(known: TaskState, *, live: bool) -> JSONObject:
    """Return a task for programs."""
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
        "contest": None if known.contest is None else contest_json(known.contest),
    }


def contest_json(contest: Contest) -> JSONObject:
    """Return several attempts at a task for programs."""
    return {
        "number": contest.number,
        "winner": contest.winner or None,
        "by": None if contest.chosen is None else contest.chosen.value,
        "why": contest.why,
        "hidden_tests": None if contest.tests is None else contest.tests.note,
        "contenders": [
            {
                "place": each.place,
                "attempt": each.attempt or None,
                "phase": each.phase.value,
                "commit": each.commit,
                "trial": None if each.trial is None else each.trial.words,
                "lines": None if each.trial is None else each.trial.lines,
                "reason": each.reason,
            }
            for each in contest.contenders
        ],
    }


def _session_json(session: StoredSession) -> JSONObject:
    return {
        "sitting": session.number,
        "version": session.version,
        "host": session.host,
        "pid": session.pid,
        "started_at": session.started_at_seconds,
        "ended_at": session.ended_at_seconds,
        "ending": session.ending,
    }
