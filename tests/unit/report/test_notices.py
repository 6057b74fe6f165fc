"""What a person wants to hear of, and who is told."""

import pytest

from codexteam.app.followers import NoticeChannel, NoticeReporter
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.notices import Notice, NoticeReader
from codexteam.report.progress import Progress
from codexteam.run.heartbeat import Heartbeat, Stalls, stalled_fields
from codexteam.views.alerts import alert_sequence


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (
            "person.asked",
            {"item": "plan", "question": "Work on it?"},
            ("needs-you", "waits for you: plan: Work on it?"),
        ),
        ("budget.warned", {"message": "80% is spent"}, ("budget", "budget: 80% is spent")),
        (
            "agent.stalled",
            {"agent": "qa qa.1", "seconds": 300, "doing": "waiting for the model", "detail": ""},
            ("stalled", "qa qa.1 is silent for 300 s: waiting for the model"),
        ),
        ("run.finished", {"result": "green", "reason": "every gate passed"}, ("finished", "green: every gate passed")),
        ("run.finished", {"result": "limit", "reason": "spent"}, ("budget", "limit: spent")),
        ("run.finished", {"result": "waiting", "reason": "for you"}, ("needs-you", "waiting: for you")),
        ("run.broken_off", {"reason": "no disk\x1b[2J"}, ("finished", "error: no disk\\x1b[2J")),
    ],
)
def test_four_things_are_worth_a_notice(kind: str, fields: JSONObject, expected: tuple[str, str]) -> None:
    notice = NoticeReader().take(RunEvent(kind, 1.0, fields))

    assert notice is not None
    assert (notice.name, notice.text) == expected


def test_a_session_that_ends_since_a_question_waits_is_no_second_notice() -> None:
    reader = NoticeReader()
    reader.take(RunEvent("person.asked", 1.0, {"item": "plan", "question": "?"}))

    assert reader.take(RunEvent("run.finished", 2.0, {"result": "waiting"})) is None
    assert reader.take(RunEvent("task.started", 2.0, {})) is None


def test_each_channel_is_told_of_what_it_wants() -> None:
    all_of_it: list[Notice] = []
    ends: list[Notice] = []
    both = (
        NoticeChannel(frozenset({"budget", "finished"}), all_of_it.append),
        NoticeChannel(frozenset({"finished"}), ends.append),
    )
    reporter = NoticeReporter(both)

    reporter.report(RunEvent("budget.warned", 1.0, {"message": "80%"}))
    reporter.report(RunEvent("run.finished", 1.0, {"result": "green", "exit_code": 0}))

    assert [one.name for one in all_of_it] == ["budget", "finished"]
    assert [one.fields for one in ends] == [{"result": "green", "exit_code": 0}]


def test_a_stall_is_new_once_until_the_agent_is_heard_of() -> None:
    def beat(at: float, heard: float) -> Heartbeat:
        agents = (Activity("qa qa.1", Doing.MODEL, heard, heard), Activity("x", Doing.LIMIT, 0.0, 0.0))
        return Heartbeat(1, at, 5.0, 300.0, agents)

    stalls = Stalls()
    seen = [
        [one.agent for one in stalls.new(beat(*each))] for each in ((5, 0), (300, 0), (305, 0), (310, 306), (606, 306))
    ]

    assert seen == [[], ["qa qa.1"], [], [], ["qa qa.1"]]
    fields = stalled_fields(Activity("qa qa.1", Doing.COMMAND, 0.0, 0.0, "pytest"), 300.4)
    assert fields == {"agent": "qa qa.1", "seconds": 300, "doing": "running a command", "detail": "pytest"}


def test_a_stall_is_no_sign_of_life() -> None:
    progress = Progress()
    agent: JSONObject = {"agent": "qa qa.1", "role": "qa", "purpose": "qa", "task": "", "attempt": 1, "model": "m"}
    progress.take(RunEvent("agent.started", 1.0, agent))
    progress.take(RunEvent("agent.stalled", 400.0, {"agent": "qa qa.1", "seconds": 399, "doing": "working"}))

    assert progress.agents["qa qa.1"].last_at_seconds == 1.0


@pytest.mark.parametrize(
    ("method", "environment", "expected"),
    [
        ("auto", {"TERM": "xterm-256color"}, "\a"),
        ("auto", {"TERM_PROGRAM": "WezTerm"}, "\x1b]9;codexteam: done\\x1b\x07"),
        ("auto", {"TERM": "xterm-kitty", "TMUX": "/tmp/t"}, "\a"),
        ("osc9", {}, "\x1b]9;codexteam: done\\x1b\x07"),
        ("osc777", {}, "\x1b]777;notify;codexteam;done\\x1b\x07"),
        ("bel", {"TERM": "xterm-kitty"}, "\a"),
    ],
)
def test_a_terminal_rings_or_shows_it_itself(method: str, environment: dict[str, str], expected: str) -> None:
    assert alert_sequence("done\x1b", method, environment) == expected
