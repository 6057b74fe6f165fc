"""All that a report says of a run, as values. Texts of models, tools and repositories are foreign in all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codexteam.core.events import Event
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.merge_train import merges_in
from codexteam.core.plan_graph import critical_path
from codexteam.ports.reporter import RunEvent
from codexteam.report.critical_path import PathStep, critical_steps
from codexteam.report.judgements import FindingLife, GateRound, finding_lives, rounds_of
from codexteam.report.overview import RunOverview
from codexteam.report.progress import number_field, text_field
from codexteam.report.run_figures import RunFigures, figures_of
from codexteam.report.spending import Spending, spending_of
from codexteam.report.task_story import TaskStory, task_story
from codexteam.report.timeline import Timeline, timeline_of
from codexteam.report.width_replay import WidthReplay, replayed_widths
from codexteam.report.work_time import work_time
from codexteam.run.remembered import AcceptedWork

#: The version of the report's JSON; a field is added without a new one, never taken away or changed in meaning.
REPORT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """Work that did not merge, or was seen coming."""

    task: str
    attempt: int
    paths: tuple[str, ...]
    others: tuple[str, ...] = ()
    """The tasks that it would clash with, where it was foreseen."""
    at_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ReportedDiff:
    """What a task changed, as far as it is shown; escaped for readers."""

    text: str
    cut: bool = False
    """More was changed than is shown."""


@dataclass(frozen=True, slots=True)
class ReportSources:
    """What a report is made of, read from where it is kept."""

    run: RunOverview
    events: Sequence[RunEvent]
    """All of them, in order."""
    decided: Sequence[tuple[float, Event]] = ()
    """What was decided on: wall seconds and event."""
    accepted: Mapping[str, AcceptedWork] = field(default_factory=dict)
    """`<task>.<attempt>` to its accepted work."""
    receipts: Mapping[str, JSONObject] = field(default_factory=dict)
    """`<role>/<purpose>/<task>/<attempt>` to the receipt of an agent's start."""
    diffs: Mapping[str, ReportedDiff] = field(default_factory=dict)
    """Task to what it changed."""
    taken_at_seconds: float = 0.0
    folder: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A report."""

    run: RunOverview
    figures: RunFigures
    stories: tuple[TaskStory, ...]
    timeline: Timeline
    path: tuple[PathStep, ...]
    planned_path: tuple[str, ...]
    """The chain of tasks with the most effort."""
    spending: Spending
    rounds: tuple[GateRound, ...]
    findings: tuple[FindingLife, ...]
    conflicts: tuple[MergeConflict, ...]
    replay: WidthReplay
    diffs: Mapping[str, ReportedDiff]
    receipts: Mapping[str, JSONObject]
    events: int
    """How many events it is made of."""
    taken_at_seconds: float
    folder: str

    @property
    def models(self) -> dict[str, str]:
        """Return the models that each role used."""
        found: dict[str, list[str]] = {}
        for agent in self.run.progress.agents.values():
            names = found.setdefault(agent.role, [])
            if agent.model not in names:
                names.append(agent.model)
        return {role: ", ".join(names) for role, names in found.items()}

    @property
    def commands(self) -> list[str]:
        """Return the commands that decided: those of the newest gates, then those of the tasks' acceptance."""
        gates = [one.command for record in self.run.state.gates.values() for one in record.commands]
        accepted = [
            one.command for known in self.run.counted for one in known.task.acceptance if one.command is not None
        ]
        return list(dict.fromkeys([*gates, *accepted]))

    def as_json(self) -> JSONObject:
        """Return it for programs: what `status --json` says, and what a report adds."""
        stalls: list[JSONValue] = [
            {"lane": lane.name, "kind": bar.kind.value, "start_seconds": bar.start_seconds, "seconds": bar.seconds}
            for lane, bar in self.timeline.stalls
        ]
        return {
            **self.run.status_json(),
            "type": "report",
            "schema": REPORT_SCHEMA,
            "taken_at": self.taken_at_seconds,
            "events": self.events,
            "result": self.run.progress.result,
            "exit_code": self.run.progress.exit_code,
            "work_seconds": round(self.timeline.seconds, 3),
            "tasks": [story.as_json() for story in self.stories],
            "timeline": [lane.as_json() for lane in self.timeline.lanes],
            "stalls": stalls,
            "critical_path": [step.as_json() for step in self.path],
            "planned_path": list(self.planned_path),
            "rounds": [one.as_json() for one in self.rounds],
            "findings": [life.as_json() for life in self.findings],
            "spending": self.spending.as_json(),
            "conflicts": [
                {"task": one.task, "attempt": one.attempt, "paths": list(one.paths), "foreseen_with": list(one.others)}
                for one in self.conflicts
            ],
            "other_widths": self.replay.as_json(),
        }


def build_report(sources: ReportSources, *, most_replayed: int | None = None) -> RunReport:
    """Put a report together; `most_replayed` decisions may be repeated for other widths, None is as many as it takes."""
    run, events = sources.run, sources.events
    state, clock = run.state, work_time(events)
    merges = merges_in(event for _, event in sources.decided)
    merged_as = {str(merge.task_id): str(merge.commit) for merge in merges}
    timeline = timeline_of(events, clock)
    decided = [(clock.at(at), event) for at, event in sources.decided]
    return RunReport(
        run,
        figures_of(run, events, clock),
        tuple(_stories(sources, merged_as)),
        timeline,
        critical_steps(timeline),
        tuple(critical_path([known.task for known in state.tasks.values()])),
        spending_of(run.progress.agents, events, clock),
        rounds_of(events),
        finding_lives(state, events, merged_as),
        tuple(_conflicts(events)),
        WidthReplay(problem="the run is not over") if run.live else replayed_widths(state, decided, most=most_replayed),
        sources.diffs,
        sources.receipts,
        len(events),
        sources.taken_at_seconds,
        sources.folder,
    )


def _stories(sources: ReportSources, merged_as: Mapping[str, str]) -> list[TaskStory]:
    """Return all tasks' stories; each event is looked at once."""
    run = sources.run
    of_task: dict[str, list[RunEvent]] = {str(task_id): [] for task_id in run.state.tasks}
    for event in sources.events:
        if event.kind == "person.answered":
            names = text_field(event.fields, "item").split(".")
            for name in names:
                if name in of_task:
                    of_task[name].append(event)
        elif (name := text_field(event.fields, "task")) in of_task:
            of_task[name].append(event)
    return [
        task_story(
            known,
            run.state,
            of_task[str(task_id)],
            accepted=sources.accepted,
            receipts=sources.receipts,
            merged_as=merged_as.get(str(task_id), ""),
            live=run.live,
        )
        for task_id, known in run.state.tasks.items()
    ]


def _conflicts(events: Sequence[RunEvent]) -> list[MergeConflict]:
    return [
        MergeConflict(
            text_field(event.fields, "task"),
            number_field(event.fields, "attempt"),
            _texts(event.fields, "paths"),
            _texts(event.fields, "with"),
            event.at_seconds,
        )
        for event in events
        if event.kind in {"task.conflicted", "conflict.expected"}
    ]


def _texts(fields: JSONObject, name: str) -> tuple[str, ...]:
    value = fields.get(name)
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(str(item) for item in listed)
