"""What is said of a run's process by its signs of life, and of agents that are silent."""

from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState, TaskPhase, TaskState
from codexteam.report.overview import Life
from codexteam.run.heartbeat import (
    BlockedOutput,
    Heartbeat,
    Waits,
    blocked_output,
    last_heartbeat,
    leave_blocked,
    leave_heartbeat,
)
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")


def beat(at: float, *agents: Activity, session: int = 1) -> Heartbeat:
    return Heartbeat(session, at, every_seconds=5.0, stalled_seconds=60.0, agents=agents)


def silent_since(at: float, name: str = "a", doing: Doing = Doing.MODEL) -> Activity:
    return Activity(name, doing, at, at)


def test_a_process_that_misses_two_heartbeats_has_stalled() -> None:
    assert Life(110.0, beat(100.0)).word == ""
    late = Life(110.5, beat(100.0))
    assert late.word == "stalled"
    assert late.trouble == "its process has given no sign for 10 s, and should every 5 s"


def test_a_suspended_process_is_called_so_at_once() -> None:
    assert Life(100.0, beat(100.0), suspended=True).word == "suspended"
    assert "suspended" in Life(100.0, None, suspended=True).trouble


def test_a_run_has_stalled_once_all_its_agents_have() -> None:
    both = Life(100.0, beat(99.0, silent_since(10.0), silent_since(20.0, "b", Doing.COMMAND)))
    one = Life(100.0, beat(99.0, silent_since(10.0), silent_since(90.0, "b")))
    assert (both.word, one.word) == ("stalled", "")
    assert (one.stalls("a"), one.stalls("b"), one.stalls("unknown")) == (True, False, False)


def test_agents_that_wait_for_budget_have_not_stalled() -> None:
    assert Life(1000.0, beat(999.0, silent_since(0.0, doing=Doing.LIMIT))).word == ""


async def test_the_heartbeat_of_an_earlier_session_says_nothing_of_this_one() -> None:
    store, last = MemoryStore(), beat(5.0, silent_since(1.0), session=2)
    assert await last_heartbeat(store, RUN, session=1) is None
    leave_heartbeat(store, RUN, beat(1.0))
    leave_heartbeat(store, RUN, last)
    assert await last_heartbeat(store, RUN, session=2) == last
    assert await last_heartbeat(store, RUN, session=3) is None


def test_a_run_whose_output_nobody_reads_is_blocked_and_not_stalled() -> None:
    blocked = Life(130.0, beat(100.0), blocked=BlockedOutput(1, 110.0))
    assert blocked.word == "blocked"
    assert blocked.trouble == "nobody has read its output for 20 s: it continues when the reader of its pipe does"


async def test_output_is_blocked_in_one_session_until_it_is_read() -> None:
    store = MemoryStore()
    leave_blocked(store, RUN, session=2, since_seconds=5.0)
    assert await blocked_output(store, RUN, session=2) == BlockedOutput(2, 5.0)
    assert await blocked_output(store, RUN, session=3) is None
    leave_blocked(store, RUN, session=2, since_seconds=None)
    assert await blocked_output(store, RUN, session=2) is None


def test_work_that_waits_for_others_says_for_whom_and_since_when() -> None:
    def state(*phases: TaskPhase) -> RunState:
        tasks = {}
        for number, phase in enumerate(phases, start=1):
            task = Task(TaskId(f"T{number}"), "t", role="implementer")
            tasks[task.id] = TaskState(task, phase, attempt=1, reason="asks: which?")
        return RunState(RUN, "g", Rules(), tasks=tasks)

    waits = Waits()
    waits.of(state(TaskPhase.QUEUED, TaskPhase.WORKING), 10.0)
    found = waits.of(state(TaskPhase.QUEUED, TaskPhase.ON_HOLD), 15.0)

    assert [(one.agent, one.doing, one.since_seconds) for one in found] == [
        ("implementer T1.1", Doing.MERGE_TRAIN, 10.0),
        ("implementer T2.1", Doing.PERSON, 15.0),
    ]
    assert found[1].detail == "asks: which?"
