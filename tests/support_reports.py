"""Runs made of events alone, as reports read them."""

from collections.abc import Sequence

from codexteam.core.events import Event, FailingCommand, GateCommand, Integrated, Rules, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import CommitId, FindingId, GateName, JSONObject, RunId, TaskId
from codexteam.core.plan_graph import Acceptance, Task
from codexteam.core.state import (
    FindingState,
    FindingStatus,
    GateRecord,
    Hold,
    RunPhase,
    RunState,
    TaskPhase,
    TaskState,
)
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, StoredSession
from codexteam.report.overview import RunOverview
from codexteam.report.progress import Progress
from codexteam.report.run_report import ReportedDiff, ReportSources, RunReport, build_report

RUN = RunId("20260101-0000-aaaa")
#: What would do harm, were it not escaped: as a tag, in an attribute, in a style, as Markdown, in a terminal.
HOSTILE = (
    "</title></pre></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<link rel=stylesheet href=//evil.invalid/a.css><iframe src=//evil.invalid></iframe>'\"><svg/onload=alert(1)>"
    "{{ 7*7 }}{% raw %} ]]> --> ![x](http://evil.invalid/x.png) | `` ` \x1b[31m\u202e\x00 @everyone"
)
USAGE: JSONObject = {"input_tokens": 1_000, "cached_input_tokens": 800, "output_tokens": 100, "reasoning_tokens": 0}


def agent(role: str, what: str, task: str = "", attempt: int = 1, purpose: str = "implement") -> JSONObject:
    """Return the fields that all events of an agent have."""
    name = f"{role} {what}.{attempt}"
    known: JSONObject = {"agent": name, "role": role, "purpose": purpose, "task": task, "attempt": attempt}
    return {**known, "model": "gpt-test"}


def turns(fields: JSONObject, start: float, count: int, said: str) -> list[RunEvent]:
    """Return the events of an agent whose every turn takes ten seconds: six of the model and four of a command."""
    found = [RunEvent("agent.started", start, {**fields, "effort": "medium", "turn": 1})]
    for turn in range(count):
        at = start + 10.0 * turn + 6.0
        more: JSONObject = {"turn": turn + 1, "usage": dict(USAGE), "usd": 0.01, "credits": 1.0, "seconds": 6.0}
        found.append(RunEvent("agent.turn", at, {**fields, **more}))
        found.append(RunEvent("agent.acted", at, {**fields, "action": said}))
    found.append(RunEvent("agent.finished", start + 10.0 * count, {**fields, "outcome": "Submitted", "turns": count}))
    return found


def report_of(said: str = "plain words", *, tasks: int = 3, turns_each: int = 2, width: int = 64) -> RunReport:
    """Return the report of a run in which every text that is not ours is the same."""
    events = [
        RunEvent("run.opened", 0.0, {"run": RUN, "goal": said, "budget": "$5.00"}),
        *turns(agent("orchestrator", "plan", purpose="plan"), 0.0, 1, said),
    ]
    decided: list[tuple[float, Event]] = []
    known: dict[TaskId, TaskState] = {}
    for number in range(1, tasks + 1):
        task_id = TaskId(f"T{number}")
        start = 10.0 + 10.0 * turns_each * ((number - 1) // width)
        end = start + 10.0 * turns_each
        merging: JSONObject = {"task": task_id, "attempt": 1}
        command: JSONObject = {"command": said, "exit_code": 0, "timed_out": False, "wall_seconds": 0.5}
        events += [
            RunEvent("task.started", start, {**merging, "purpose": "implement", "title": said, "role": "implementer"}),
            *turns(agent("implementer", task_id, task_id), start, turns_each, said),
            RunEvent("task.accepted", end, {**merging, "summary": said, "commit": "c" * 40}),
            RunEvent("task.merging", end + number, dict(merging)),
            RunEvent("acceptance.checked", end + number + 0.5, {**merging, **command}),
            RunEvent("task.merged", end + number + 1, {**merging, "changed": True}),
        ]
        decided.append((end + number + 1, Integrated(task_id, 1, CommitId(f"{number:040x}"))))
        task = Task(
            task_id,
            said,
            said,
            deps=(TaskId("T1"),) if number > 1 else (),
            paths=(said,),
            acceptance=(Acceptance(said, said),),
            fixes=(FindingId("F1"),) if number == tasks else (),
        )
        known[task_id] = TaskState(task, TaskPhase.MERGED, 1, reason=said)
    events.sort(key=lambda event: event.at_seconds)
    last = events[-1].at_seconds
    conflicted: JSONObject = {"task": "T2", "attempt": 1, "paths": [said]}
    events += [
        RunEvent("task.conflicted", last, conflicted),
        RunEvent("person.asked", last, {"item": "question.T1.1", "question": said}),
        RunEvent("gate.started", last, {"gate": "reviewer", "round": 1, "commit": "d" * 40}),
        RunEvent("gate.completed", last + 5, _verdict(said)),
        RunEvent("finding.opened", last + 5, {"finding": "F1", "title": said}),
        RunEvent("run.finished", last + 6, {"result": "waiting", "reason": said, "exit_code": 5}),
    ]
    return build_report(
        ReportSources(
            RunOverview(_record(said), _state(said, known), _progress(events), live=False, sessions=(_session(said),)),
            events,
            decided,
            receipts={f"implementer/implement/T{number}/1": _receipt(said, number) for number in known_numbers(known)},
            diffs={
                str(task_id): ReportedDiff(f"diff --git a/x b/x\n@@ -1 +1 @@\n-old\n+{said}\n") for task_id in known
            },
            taken_at_seconds=1_000.0,
            folder=said,
        )
    )


def known_numbers(known: dict[TaskId, TaskState]) -> list[int]:
    return list(range(1, len(known) + 1))


def _receipt(said: str, number: int) -> JSONObject:
    return {"agent": f"implementer T{number}.1", "description": said, "schema": 2}


def _record(said: str) -> RunRecord:
    return RunRecord(RUN, said, "b" * 40, "waiting", 0.0, {})


def _session(said: str) -> StoredSession:
    return StoredSession(RUN, 1, "1.0", "host", 1, "", 0.0, 100.0, said)


def _progress(events: Sequence[RunEvent]) -> Progress:
    progress = Progress()
    for event in events:
        progress.take(event)
    return progress


def _verdict(said: str) -> JSONObject:
    failing: JSONObject = {"command": said, "reason": said, "as_before": False}
    command: JSONObject = {"command": said, "ok": False, "how": said}
    verdict: JSONObject = {"gate": "reviewer", "round": 1, "commit": "d" * 40, "verdict": "block", "findings": 1}
    return {**verdict, "note": said, "failing": [failing], "commands": [command], "confidence": "", "risks": [said]}


def _state(said: str, known: dict[TaskId, TaskState]) -> RunState:
    finding = Finding(
        said, said, Severity.MUST_FIX, Category.SECURITY, said, 7, said, (said,), GateName.REVIEW, FindingId("F1")
    )
    commands = (GateCommand(said, ok=False, how=said),)
    failing = (FailingCommand(said, said),)
    record = GateRecord(CommitId("d" * 40), Verdict.BLOCK, failing=failing, commands=commands)
    return RunState(
        RUN,
        said,
        Rules(),
        phase=RunPhase.WORKING,
        base=CommitId("b" * 40),
        tip=CommitId("d" * 40),
        summary=said,
        tasks=known,
        round=1,
        gates={GateName.REVIEW: record},
        findings={FindingId("F1"): FindingState(finding, said, FindingStatus.OPEN, 1)},
        risks=(said,),
        holds={"question.T1.1": Hold(said, TaskId("T1"))},
        answer=said,
        documentation_failure=said,
        made_from=said,
        result_reason=said,
    )
