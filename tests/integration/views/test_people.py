"""What people decide reaches a run: one that waits at once, under its lock; one that goes on through its process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.adapters.lock import RepositoryLock
from codexteam.core.state import FindingStatus, RunPhase, TaskPhase
from tests.integration.views.conftest import (
    Cli,
    Project,
    approval_world,
    green_world,
    stuck_world,
    waiting_world,
)

RUN = "20231114-2313-bbbb"

#: A run's process as far as other commands see it: the lock, the requests, and the signal.
SITTING = """
import asyncio, signal, sys
from pathlib import Path
from codexteam.adapters.lock import RepositoryLock
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app import requests

async def main():
    state, common, run_id, answers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    store = SqliteStore(state / "state.sqlite")
    over = asyncio.Event()
    woken = asyncio.Event()
    if answers == "deaf, and in the background":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif answers != "deaf":
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, woken.set)
    with RepositoryLock(state, common, started="now") as lock:
        lock.name_run(run_id)
        print("sits", flush=True)
        while True:
            await woken.wait()
            woken.clear()
            for key, asked in await requests.pending(store, run_id):
                print(asked, flush=True)
                if answers == "ends":
                    await store.close()
                    return
                await requests.settle(store, run_id, key, answers)
                if isinstance(asked, requests.StopNow):
                    await store.close()
                    return

asyncio.run(main())
"""


@contextmanager
def sitting(project: Project, answers: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", SITTING, str(project.state), str(project.common), RUN, answers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == "sits\n", process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# a run that waits


def test_an_answer_is_taken_into_a_run_that_waits_and_stands_in_its_history(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="waiting")

    done = cli("answer", "question.T1.1", "the", "blue", "one")

    assert (done.code, done.err) == (0, "")
    assert done.out == "question.T1.1: taken; codexteam resume goes on\n"
    state = project.stored_state(RUN)
    assert not state.holds
    assert "The user's answer: the blue one" in state.tasks["T1"].evidence  # type: ignore[index]  # a task's id
    events = [json.loads(event) for event in cli("events").out.splitlines()]
    assert {"kind": "person.answered", "item": "question.T1.1", "text": "the blue one"}.items() <= events[-1].items()
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert cli("inbox").err == "nothing waits for you\n"
    assert cli("runs").out.splitlines()[1].split()[1] == "interrupted", "it waits for nobody but resume"


def test_an_item_may_be_named_by_its_start_and_an_answer_come_from_stdin(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.integration.views.conftest import command

    project.record(RUN, waiting_world().history, state="waiting")
    done = subprocess.run(
        [sys.executable, "-m", "codexteam", "-C", str(project.root), "answer", "quest", "-", "--json"],
        input="über\n".encode(),
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fate"] == "stored"
    assert "über" in project.stored_state(RUN).tasks["T1"].evidence  # type: ignore[index]  # a task's id
    assert command(project, "inbox").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("answer", "nothing", "x"), "what waits: question.T1.1"),
        (("answer", "question.T1.1"), "the answer is empty"),
        (("answer", "question.T1.1", "--no"), "--no alone does not answer it"),
        (("approve", "question.T1.1"), "approving does not answer it"),
        (("say", "T1", "hello"), "waits for an answer"),
        (("say", "T9", "hello"), "has no task"),
        (("say", "T2", " "), "the message is empty"),
        (("say", "T2", "hello"), "no agent is at work"),
        (("pause",), "does not go on"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(
    arguments: tuple[str, ...], said: str, project: Project, cli: Cli
) -> None:
    project.record(RUN, waiting_world().history, state="waiting")
    before = project.stored_state(RUN)

    done = cli(*arguments)

    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "hint: " in done.err
    assert project.stored_state(RUN) == before


def test_a_plan_is_approved(project: Project, cli: Cli) -> None:
    world = approval_world()
    project.record(RUN, world.history, rules=world.rules, state="waiting")
    assert cli("approve", "plan").code == 0
    assert project.stored_state(RUN).phase is RunPhase.WORKING


def test_words_send_a_plan_back_and_are_not_taken_for_an_approval(project: Project, cli: Cli) -> None:
    world = approval_world()
    project.record(RUN, world.history, rules=world.rules, state="waiting")
    assert cli("answer", "plan", "make T2 smaller").code == 0
    state = project.stored_state(RUN)
    assert state.phase is RunPhase.PLANNING
    assert "make T2 smaller" in state.plan_feedback


def test_a_declined_plan_ends_its_run(project: Project, cli: Cli) -> None:
    world = approval_world()
    project.record(RUN, world.history, rules=world.rules, state="waiting")
    done = cli("answer", "plan", "--no")
    assert done.out == (
        "plan: taken; the run ends: the plan was declined; codexteam resume takes plan.md as you edit it, or asks again\n"
    )
    assert not project.stored_state(RUN).holds
    assert project.run_state(RUN) == "not_green"
    assert "reason  the plan was declined\n" in cli("status").out


def test_a_finding_is_waived_by_name(project: Project, cli: Cli) -> None:
    project.record(RUN, stuck_world().history, state="waiting")
    assert "no open finding is called F9" in cli("answer", "rounds.3", "waive", "F9").err
    assert "is none of its answers" in cli("answer", "rounds.3", "please fix it").err

    assert cli("answer", "rounds.3", "waive", "f3").code == 0

    findings = {str(i): known.status for i, known in project.stored_state(RUN).findings.items()}
    assert findings["F3"] is FindingStatus.WAIVED


def test_an_answer_waits_for_the_lock_like_everything_that_writes(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="waiting")
    with RepositoryLock(project.state, project.common, started="2026-01-02") as lock:
        lock.name_run("20990101-0000-cccc")
        done = cli("answer", "question.T1.1", "x")
    assert done.code == 6
    assert "another codexteam process works on this repository" in done.err
    assert project.stored_state(RUN).tasks["T1"].phase is TaskPhase.ON_HOLD  # type: ignore[index]  # a task's id


def test_stopping_what_does_not_go_on_is_done_already(project: Project, cli: Cli) -> None:
    project.record(RUN, green_world().history, state="green")
    assert cli("stop").out == f"{RUN}: nothing goes on here\n"


# a run that goes on


@pytest.mark.parametrize(
    ("arguments", "request_", "said"),
    [
        (("answer", "question.T1.1", "blue"), "Answered(item='question.T1.1', text='blue', approved=True)", "taken"),
        (("say", "T1", "be", "quick"), "SayTo(task_id='T1', text='be quick')", "before its next turn"),
        (("pause",), "PauseRequested()", "no new agent starts"),
        (("pause", "--off"), "Continued(rules=None)", "new agents start again"),
        (("stop",), "StopRequested(reason='codexteam stop', exit_code=143)", "agents are let end"),
        (("stop", "--now"), "StopNow()", "stopped; codexteam resume goes on with it"),
    ],
)
def test_a_run_that_goes_on_takes_what_is_asked_of_it(
    arguments: tuple[str, ...], request_: str, said: str, project: Project, cli: Cli
) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with sitting(project, "taken") as process:
        done = cli(*arguments)
        assert done.code == 0, done.err
        assert said in done.out
        assert line(process) == request_


def test_why_a_run_refuses_is_said(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with sitting(project, "no agent works on T2"):
        done = cli("say", "T2", "hello")
    assert done.code == 2
    assert "T2: no agent works on T2" in done.err


def test_an_answer_to_a_run_that_ends_before_it_looks_is_taken_all_the_same(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with sitting(project, "ends"):
        done = cli("answer", "question.T1.1", "blue")
    assert (done.code, done.err) == (0, "")
    assert not project.stored_state(RUN).holds


@pytest.mark.slow
def test_a_run_that_is_still_being_opened_is_told_by_a_request_that_it_finds(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with sitting(project, "deaf") as process:
        done = cli("pause")
        assert process.poll() is None, "the signal was not sent to a process that it would end"
    assert done.code == 0
    assert "will take it as soon as it looks" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["deaf", "deaf, and in the background"])
def test_stopping_a_run_that_is_still_being_opened_interrupts_it(project: Project, cli: Cli, answers: str) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with sitting(project, answers) as process:
        assert cli("stop").code == 0
        assert process.wait(timeout=60) != 0
