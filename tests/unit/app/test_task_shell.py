"""Whose files a shell is opened on, and what is said where there are none."""

import pytest

from codexteam.app.task_shell import attempt_number
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import TaskState
from codexteam.errors import UsageError

TASK = Task(TaskId("T1"), "a task")


def test_the_newest_attempt_is_meant_unless_another_one_is_named() -> None:
    assert attempt_number(TaskState(TASK, attempt=3), None) == 3
    assert attempt_number(TaskState(TASK, attempt=3), 2) == 2


@pytest.mark.parametrize(
    ("tried", "wanted", "why"),
    [
        (0, None, "T1 was not tried yet"),
        (1, 2, "--attempt 2: T1 has one"),
        (3, 4, "--attempt 4: T1 has 1 to 3"),
    ],
)
def test_an_attempt_that_is_not_there_is_refused(tried: int, wanted: int | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        attempt_number(TaskState(TASK, attempt=tried), wanted)
