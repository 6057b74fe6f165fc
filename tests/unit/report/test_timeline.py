"""Who did what when, from what a run reported."""

from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.critical_path import critical_steps
from codexteam.report.timeline import BarKind, Timeline, TimelineLane, timeline_of
from codexteam.report.work_time import work_time
from tests.support_reports import agent, report_of

WORKER = agent("implementer", "T1", "T1")
OPENED = RunEvent("run.opened", 0.0, {"run": "r", "goal": "goal"})


def turn(at: float, seconds: float | None = None) -> RunEvent:
    more: JSONObject = {} if seconds is None else {"seconds": seconds}
    return RunEvent("agent.turn", at, {**WORKER, "turn": 1, "usage": None, **more})


def acted(at: float, action: str = "pytest") -> RunEvent:
    return RunEvent("agent.acted", at, {**WORKER, "action": action})


def started(at: float) -> RunEvent:
    return RunEvent("agent.started", at, dict(WORKER))


def finished(at: float) -> RunEvent:
    return RunEvent("agent.finished", at, dict(WORKER))


def bars(timeline: Timeline, name: str = "implementer T1.1") -> list[tuple[str, float, float]]:
    lane = lane_of(timeline, name)
    return [(bar.kind.value, bar.start_seconds, bar.end_seconds) for bar in lane.bars]


def lane_of(timeline: Timeline, name: str) -> TimelineLane:
    return next(lane for lane in timeline.lanes if lane.name == name)


def test_waiting_for_the_model_and_running_a_command_are_told_apart() -> None:
    events = [OPENED, started(0.0), turn(7.0, 5.0), acted(7.0), turn(20.0, 4.0), finished(20.5)]

    assert bars(timeline_of(events)) == [
        ("work", 0.0, 2.0),
        ("model", 2.0, 7.0),
        ("command", 7.0, 16.0),
        ("model", 16.0, 20.0),
        ("work", 20.0, 20.5),
    ]


def test_a_command_that_starts_within_an_answer_is_seen_after_it() -> None:
    events = [OPENED, started(0.0), acted(3.0), turn(5.0, 5.0), turn(9.0, 1.0), finished(9.0)]

    assert bars(timeline_of(events)) == [("model", 0.0, 5.0), ("command", 5.0, 8.0), ("model", 8.0, 9.0)]


def test_what_older_runs_do_not_tell_apart_is_not_guessed() -> None:
    events = [OPENED, started(0.0), turn(5.0), turn(9.0), finished(9.0)]

    assert {kind for kind, _, _ in bars(timeline_of(events))} == {"work"}


def test_waiting_for_a_limit_is_not_waiting_for_the_model() -> None:
    waits = RunEvent("agent.waiting", 2.0, {**WORKER, "reason": "429", "wait_seconds": 30.0, "tries": 2})
    events = [OPENED, started(0.0), waits, turn(40.0, 39.0), finished(40.0)]

    assert bars(timeline_of(events)) == [
        ("work", 0.0, 1.0),
        ("model", 1.0, 2.0),
        ("limit", 2.0, 32.0),
        ("model", 32.0, 40.0),
    ]


def test_a_stall_is_what_the_run_recorded_as_one() -> None:
    opened = RunEvent("run.opened", 0.0, {"run": "r", "stalled_seconds": 300.0})
    stalled = RunEvent("agent.stalled", 395.0, {"agent": WORKER["agent"], "seconds": 300})
    events = [opened, started(0.0), turn(90.0, 90.0), acted(90.0), stalled, turn(500.0, 10.0), finished(500.0)]

    [(_, bar)] = timeline_of(events).stalls
    assert (bar.kind, bar.seconds) == (BarKind.COMMAND, 400.0)


def test_where_stalls_were_not_recorded_more_than_a_minute_is_one() -> None:
    events = [OPENED, started(0.0), turn(90.0, 90.0), acted(90.0), turn(200.0, 10.0), finished(200.0)]

    [(lane, bar)] = timeline_of(events).stalls
    assert (lane.name, bar.kind, bar.seconds) == ("implementer T1.1", BarKind.MODEL, 90.0)


def test_time_between_sessions_is_left_out() -> None:
    events = [
        OPENED,
        started(0.0),
        RunEvent("run.finished", 10.0, {"result": "waiting"}),
        RunEvent("person.answered", 4_000.0, {"item": "plan"}),
        RunEvent("run.opened", 5_000.0, {}),
        started(5_001.0),
        finished(5_004.0),
    ]

    timeline = timeline_of(events)
    assert (timeline.seconds, timeline.resumed_at_seconds) == (14.0, (10.0,))
    assert bars(timeline) == [("work", 0.0, 10.0), ("work", 11.0, 14.0)]


def test_an_agent_of_a_killed_session_worked_until_it_was_last_heard_of() -> None:
    events = [OPENED, started(0.0), acted(4.0), RunEvent("run.opened", 500.0, {}), started(501.0), finished(502.0)]

    assert bars(timeline_of(events)) == [("work", 0.0, 4.0), ("work", 5.0, 6.0)]


def test_a_clock_that_is_set_back_takes_no_time_away() -> None:
    events = [OPENED, RunEvent("notice", 10.0, {}), RunEvent("notice", 3.0, {}), RunEvent("notice", 11.0, {})]

    clock = work_time(events)
    assert (clock.total_seconds, clock.at(3.0), clock.at(99.0)) == (11.0, 3.0, 11.0)


def test_work_waits_to_be_merged_in_the_row_in_which_it_is_merged() -> None:
    def task(kind: str, at: float, name: str) -> RunEvent:
        return RunEvent(f"task.{kind}", at, {"task": name, "attempt": 1})

    events = [
        OPENED,
        task("accepted", 1.0, "T1"),
        task("accepted", 1.5, "T2"),
        task("merging", 2.0, "T1"),
        task("merged", 4.0, "T1"),
        task("merging", 4.0, "T2"),
        task("merged", 6.0, "T2"),
    ]

    timeline = timeline_of(events)
    assert bars(timeline, "merge train") == [("queue", 1.0, 2.0), ("merge", 2.0, 4.0)]
    assert bars(timeline, "merge train 2") == [("queue", 1.5, 4.0), ("merge", 4.0, 6.0)]


def test_people_gates_and_setups_have_lanes_of_their_own() -> None:
    events = [
        OPENED,
        RunEvent("environment.building", 0.0, {"key": "k", "made_from": "pyproject.toml"}),
        RunEvent("environment.ready", 3.0, {"key": "k"}),
        RunEvent("gate.started", 3.0, {"gate": "reviewer", "round": 1}),
        RunEvent("person.asked", 4.0, {"item": "plan", "question": "So?"}),
        RunEvent("gate.completed", 5.0, {"gate": "reviewer", "round": 1}),
        RunEvent("person.answered", 9.0, {"item": "plan"}),
    ]

    timeline = timeline_of(events)
    assert bars(timeline, "environment") == [("setup", 0.0, 3.0)]
    assert bars(timeline, "gates") == [("gate", 3.0, 5.0)]
    assert bars(timeline, "people") == [("person", 4.0, 9.0)]


def test_each_step_of_the_critical_path_begins_when_the_one_before_ends() -> None:
    path = report_of(tasks=3, turns_each=2).path

    assert [step.name for step in path] == [
        "orchestrator plan.1",
        "implementer T3.1",
        "T1.1 is merged and accepted",
        "T2.1 is merged and accepted",
        "T3.1 is merged and accepted",
        "reviewer, round 1",
    ]
    assert [step.before_seconds for step in path] == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]


def test_a_run_in_which_nobody_worked_has_no_critical_path() -> None:
    assert critical_steps(timeline_of([OPENED])) == ()
