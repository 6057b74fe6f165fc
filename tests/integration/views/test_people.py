"""What people decide reaches a run: one that waits at once, under its lock; one that continues through its process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.adapters.machine.lock import RepositoryLock
from codexteam.adapters.machine.person import person
from codexteam.core.state import FindingStatus, Rules, RunPhase, TaskPhase
from tests.integration.views.conftest import (
    Cli,
    Project,
    approval_world,
    stuck_world,
    unfixed_world,
    waiting_world,
)
from tests.unit.core.run_world import World, tasks

RUN = "20231114-2313-bbbb"

#: A run's process as far as other commands see it: the lock, the requests, and the signal.
SESSION = """
import asyncio, signal, sys
from pathlib import Path
from codexteam.adapters.machine.lock import RepositoryLock
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
def session(project: Project, answers: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(project.state), str(project.common), RUN, answers],
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


def test_an_answer_reaches_a_waiting_run_and_its_history(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="waiting")

    done = cli("answer", "question.T1.1", "the", "blue", "one")

    assert (done.code, done.err) == (0, "")
    assert done.out == "question.T1.1: answer saved. Continue: codexteam resume\n"
    state = project.stored_state(RUN)
    assert not state.holds
    assert "The user's answer: the blue one" in state.tasks["T1"].evidence  # type: ignore[index]  # a task's id
    events = [json.loads(event) for event in cli("events").out.splitlines()]
    told = {"kind": "person.answered", "item": "question.T1.1", "text": "the blue one", "by": person()}
    assert told.items() <= events[-1].items()
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert cli("inbox").err == "nothing waits for you\n"
    assert cli("runs").out.splitlines()[1].split()[1] == "interrupted", "it waits for nobody but resume"


def test_an_item_may_be_named_by_its_start_and_an_answer_come_from_stdin(project: Project, cli: Cli) -> None:
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
    assert cli("inbox").out == ""


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
        (("say", "T2", "hello"), "no agent works on it"),
        (("pause",), "is not running"),
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
    assert done.out == ("plan: declined. Edit plan.md and continue: codexteam resume; or leave it\n")
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


@pytest.mark.parametrize("arguments", [("stop",), ("stop", "--now"), ("pause",), ("pause", "--off")])
def test_steering_a_run_that_is_not_running_is_an_error(arguments: tuple[str, ...], project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="waiting")
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: run {RUN} is not running\nhint: continue it: codexteam resume\n"


def test_findings_are_waived_at_any_time_in_any_form_people_type(project: Project, cli: Cli) -> None:
    forms = [("findings", "waive", "f1"), ("F2", "waive"), ("waive", "F3"), ("rounds.1", "waive", "F1")]
    for number, form in enumerate(forms):
        run = f"20231114-2313-bbb{number}"
        world = unfixed_world()
        project.record(run, world.history, rules=world.rules, state="not_green")
        assert "no open finding is called F9" in cli("answer", "findings", "waive", "F9", "--run", run).err
        done = cli("answer", *form, "--run", run)
        assert done.code == 0, done.err
        name = next(word for word in form if word.upper() in {"F1", "F2", "F3"}).upper()
        assert done.out == f"findings: waived {name}. Continue: codexteam resume\n"
        findings = {str(i): known.status for i, known in project.stored_state(run).findings.items()}
        assert [i for i, status in findings.items() if status is FindingStatus.WAIVED] == [name]
        assert f"waived since then: {name}" in cli("status", run).out


def test_all_merges_are_approved_at_once(project: Project, cli: Cli) -> None:
    world = World(tasks("T1", "T2"), Rules(approve=("merge",), scout=False))
    world.run()
    project.record(RUN, world.history, rules=world.rules, state="waiting")
    assert "approve needs ITEM, or --all" in cli("approve").err
    assert "either ITEM or --all" in cli("approve", "merge.T1.1", "--all").err
    done = cli("approve", "--all")
    assert done.out == (
        "merge.T1.1: approved; still waiting: merge.T2.1\nmerge.T2.1: approved. Continue: codexteam resume\n"
    )
    assert not project.stored_state(RUN).holds
    assert "nothing waits that can be approved" in cli("approve", "--all").err


def test_all_is_refused_where_several_runs_wait(project: Project, cli: Cli) -> None:
    world = approval_world()
    for run in (RUN, "20231114-2314-cccc"):
        project.record(run, world.history, rules=world.rules, state="waiting")
    assert "several runs wait" in cli("approve", "--all").err
    assert cli("approve", "--all", "--run", RUN).code == 0


# a run that continues


@pytest.mark.parametrize(
    ("arguments", "request_", "said"),
    [
        (
            ("answer", "question.T1.1", "blue"),
            "Answered(item='question.T1.1', text='blue', approved=True)",
            "answer saved; the run continues with it",
        ),
        (
            ("say", "planner", "be", "quick"),
            "MessageLeft(to='planner', text='be quick')",
            "kept for when the gates find",
        ),
        (("pause",), "PauseRequested()", "paused: no new agents"),
        (("pause", "--off"), "Continued(rules=None)", "new agents start again"),
        (("stop",), "StopRequested(reason='codexteam stop', exit_code=143)", "running agents finish first"),
        (("stop", "--now"), "StopNow()", "stopped. Continue: codexteam resume"),
    ],
)
def test_a_run_that_goes_on_takes_what_is_asked_of_it(
    arguments: tuple[str, ...], request_: str, said: str, project: Project, cli: Cli
) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with session(project, "taken") as process:
        done = cli(*arguments)
        assert done.code == 0, done.err
        assert said in done.out
        assert line(process) == request_


def test_why_a_run_refuses_is_said(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with session(project, "the planner has just ended"):
        done = cli("say", "planner", "hello")
    assert done.code == 2
    assert "error: the planner has just ended" in done.err


def test_an_answer_to_a_run_that_ends_before_it_looks_is_still_taken(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with session(project, "ends"):
        done = cli("answer", "question.T1.1", "blue")
    assert (done.code, done.err) == (0, "")
    assert not project.stored_state(RUN).holds


@pytest.mark.slow
def test_a_request_is_found_by_a_run_that_is_still_opening(project: Project, cli: Cli) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with session(project, "deaf") as process:
        done = cli("pause")
        assert process.poll() is None, "the signal was not sent to a process that it would end"
    assert done.code == 0
    assert "the run reads it shortly" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["deaf", "deaf, and in the background"])
def test_stopping_a_run_that_is_still_being_opened_interrupts_it(project: Project, cli: Cli, answers: str) -> None:
    project.record(RUN, waiting_world().history, state="running")
    with session(project, answers) as process:
        assert cli("stop").code == 0
        assert process.wait(timeout=60) != 0
