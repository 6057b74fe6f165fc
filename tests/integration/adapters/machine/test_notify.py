"""The user's `notify` program, started as Codex starts it."""

import json
import time
from pathlib import Path

import pytest

from codexteam.adapters.machine.notify import NotifyProgram
from codexteam.core.ids import JSONObject
from codexteam.ports.reporter import RunEvent
from codexteam.report.notices import NoticeReader

FINISHED: JSONObject = {"result": "green", "reason": "every gate passed", "exit_code": 0}


class Notifying:
    """The program, told of what a run's events are worth."""

    def __init__(self, program: NotifyProgram) -> None:
        self._program = program
        self._reader = NoticeReader()
        self.close = program.close

    def report(self, event: RunEvent) -> None:
        if (notice := self._reader.take(event)) is not None:
            self._program.tell(notice)


def reporter(folder: Path, program: tuple[str, ...], warnings: list[str]) -> Notifying:
    return Notifying(
        NotifyProgram(
            program,
            run_id="20261121-0231-7f3a",
            goal="Add it.\x1b[31m",
            folder=folder,
            environment={"PATH": "/usr/bin:/bin", "MINE": "yes"},
            warn=warnings.append,
        )
    )


def told(folder: Path, count: int) -> list[JSONObject]:
    file = folder / "told"
    until = time.monotonic() + 20
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < until, "nobody was told"
        time.sleep(0.02)
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, ...]:
    script = tmp_path / "notify.sh"
    script.write_text('#!/bin/sh\necho "$1 $MINE $(pwd)" > args\nprintf "%s\\n" "$2" >> told\n')
    script.chmod(0o755)
    return (str(script), "mine")


def test_it_gets_its_own_arguments_and_one_more_that_is_json(tmp_path: Path, program: tuple[str, ...]) -> None:
    notify = reporter(tmp_path, program, [])

    notify.report(RunEvent("run.finished", 1.0, FINISHED))

    [argument] = told(tmp_path, 1)
    assert (tmp_path / "args").read_text() == f"mine yes {tmp_path}\n"
    assert argument == {
        "type": "agent-turn-complete",
        "thread-id": "20261121-0231-7f3a",
        "turn-id": "20261121-0231-7f3a.finished.1",
        "cwd": str(tmp_path),
        "client": "codexteam",
        "input-messages": ["Add it.\\x1b[31m"],
        "last-assistant-message": "green: every gate passed",
        "codexteam": {"event": "finished", "run": "20261121-0231-7f3a", "result": "green", "exit_code": 0},
    }
    notify.close()


def test_it_is_told_of_needs_and_budgets_and_once_of_what_waits(tmp_path: Path, program: tuple[str, ...]) -> None:
    notify = reporter(tmp_path, program, [])

    notify.report(RunEvent("task.started", 1.0, {}))
    for number, event in enumerate(
        (
            RunEvent("budget.warned", 1.0, {"message": "80% of 5 USD is spent"}),
            RunEvent("person.asked", 1.0, {"item": "plan", "question": "Work on it?"}),
        ),
        start=1,
    ):
        notify.report(event)
        told(tmp_path, number)
    notify.report(RunEvent("run.finished", 1.0, {"result": "waiting", "reason": "waits", "exit_code": 5}))
    notify.report(RunEvent("run.finished", 1.0, {"result": "limit", "reason": "spent", "exit_code": 4}))

    seen = [(each["codexteam"]["event"], each["last-assistant-message"]) for each in told(tmp_path, 3)]  # type: ignore[index,call-overload]  # an object
    assert seen == [
        ("budget", "budget: 80% of 5 USD is spent"),
        ("needs-you", "waits for you: plan: Work on it?"),
        ("budget", "limit: spent"),
    ]
    notify.close()


def test_the_answer_to_a_question_is_the_message(tmp_path: Path, program: tuple[str, ...]) -> None:
    notify = reporter(tmp_path, program, [])

    notify.report(RunEvent("plan.created", 1.0, {"tasks": [], "answer": "It parses\ndates."}))
    notify.report(
        RunEvent("run.finished", 2.0, {"result": "green", "reason": "the question is answered", "exit_code": 0})
    )

    [argument] = told(tmp_path, 1)
    assert argument["last-assistant-message"] == "It parses\ndates."
    notify.close()


def test_a_program_that_cannot_be_started_is_said_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    notify = reporter(tmp_path, ("/nowhere/notify",), warnings)

    notify.report(RunEvent("run.finished", 1.0, FINISHED))
    notify.report(RunEvent("run.finished", 1.0, FINISHED))

    [warning] = warnings
    assert warning.startswith("notify: /nowhere/notify cannot be started: ")


def test_nobody_waits_for_it(tmp_path: Path) -> None:
    notify = reporter(tmp_path, ("sleep", "20"), [])
    began = time.monotonic()

    notify.report(RunEvent("run.finished", 1.0, FINISHED))
    notify.close()

    assert time.monotonic() - began < 20
