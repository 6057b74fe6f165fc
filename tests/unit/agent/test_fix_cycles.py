"""An agent that mends the same check again and again is told, and then stopped."""

import json

import pytest

from codexteam.agent.fix_cycles import FixCycles
from codexteam.agent.loop_detection import Continue, Judgement, Looping
from codexteam.agent.tools.tool import PROBLEM_PREFIX
from codexteam.agent.tools.toolbox import ToolCall
from codexteam.core.ids import JSONObject

CHECK = "pytest -q tests/test_load.py"


def call(cycles: FixCycles, name: str, output: str, at: str = "", **arguments: object) -> Judgement:
    told: JSONObject = {"type": "function_call_output", "call_id": "c", "output": output}
    return cycles.after_calls([ToolCall("c", name, json.dumps(arguments), "function_call")], [told], at)


def run(cycles: FixCycles, line: str, exit_code: int, said: str = "", at: str = "") -> Judgement:
    state = f"Process exited with code {exit_code}"
    output = f"Chunk ID: 00\nWall time: 1.0 seconds\n{state}\nOriginal token count: 0\nOutput:\n{said}"
    return call(cycles, "exec_command", output, at, cmd=line)


def mend(cycles: FixCycles) -> None:
    assert call(cycles, "apply_patch", "Success.", input="*** Begin Patch") == Continue()


def failures(cycles: FixCycles, count: int, line: str = CHECK, said: str = "1 failed\n") -> list[Judgement]:
    found = []
    for _ in range(count):
        found.append(run(cycles, line, 1, said))
        mend(cycles)
    return found


def test_five_tries_after_the_first_failure_are_the_most() -> None:
    *before, told, last = failures(FixCycles((CHECK,)), 6, f"cd /work && {CHECK} 2>&1")

    assert before == [Continue()] * 4
    assert isinstance(told, Continue)
    assert "one try is left" in told.hint
    assert last == Looping(f"`{CHECK}` still fails after 5 tries to mend it: 1 failed")


def test_a_check_that_passes_starts_the_count_anew() -> None:
    cycles = FixCycles((CHECK,))
    for _ in range(5):
        assert failures(cycles, 4) == [Continue()] * 4
        assert run(cycles, CHECK, 0) == Continue()


def test_checks_are_counted_apart_and_other_commands_not() -> None:
    cycles = FixCycles((CHECK,))
    for _ in range(4):
        assert failures(cycles, 1) == failures(cycles, 1, "go test ./...") == [Continue()]
        assert failures(cycles, 1, "grep -q load src/load.py") == [Continue()]
    assert all(found == Continue() for found in failures(cycles, 20, "ls missing"))


def test_running_it_again_without_a_change_is_no_try() -> None:
    cycles = FixCycles((CHECK,))
    assert all(run(cycles, CHECK, 1) == Continue() for _ in range(20))


def test_reading_is_no_try_and_a_changed_workspace_is() -> None:
    cycles = FixCycles((CHECK,), most=1)
    for _ in range(5):
        assert run(cycles, CHECK, 1, at="a") == Continue()
        assert run(cycles, "cat src/load.py", 0, at="a") == Continue()
    assert call(cycles, "apply_patch", f"{PROBLEM_PREFIX}no such line", input="*** Begin Patch") == Continue()
    assert run(cycles, CHECK, 1, at="a") == Continue()
    assert run(cycles, "sed -i s/1/2/ src/load.py", 0, at="a") == Continue()
    assert isinstance(run(cycles, CHECK, 1, at="b"), Looping)


def test_what_a_check_leaves_in_the_workspace_is_no_change() -> None:
    cycles = FixCycles((CHECK,), most=1)
    for before in "abcdef":
        after = f"{before}1"  # the check left a cache
        assert run(cycles, CHECK, 1, at=before) == Continue()
        assert run(cycles, "ls", 0, at=after) == Continue()
        assert run(cycles, CHECK, 1, at=after) == Continue()
        assert run(cycles, CHECK, 0, at=after) == Continue()


def test_progress_begins_the_count_anew() -> None:
    cycles = FixCycles((CHECK,), most=2)
    for count in (30, 12, 7, 2):
        told = f"=== {count} failed, 1 passed in 0.10s ===\n"
        hints = [bool(found.hint) for found in failures(cycles, 2, said=told) if isinstance(found, Continue)]
        assert hints == [False, True]
    assert isinstance(failures(cycles, 1, said="=== 5 failed, 1 passed in 0.10s ===\n")[0], Looping)
    stopping = FixCycles((CHECK,), most=1)
    one = "FAILED tests/test_load.py::test_{} - E\n=== 1 failed, 1 passed in 0.10s ===\n"
    for name in "abc":
        assert failures(stopping, 1, said=one.format(name)) == [Continue()]
    assert isinstance(failures(stopping, 1, said=one.format("a"))[0], Looping)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("make", True),
        ("cd /work && CI=1 timeout 60 make 2>&1 | tail -5", True),
        ("bash -lc 'make'", True),
        ("make; echo done", True),
        ("make lint", False),
        ("make-it", False),
        ("grep -n make", False),
        ("cmake", False),
        ("make > out.txt", True),
    ],
)
def test_the_whole_command_is_the_check(line: str, *, same: bool) -> None:
    cycles = FixCycles(("make",), most=1)
    run(cycles, "make", 1)
    mend(cycles)

    assert isinstance(run(cycles, line, 1), Looping) is same


def test_a_check_that_ends_later_counts_when_it_ends() -> None:
    cycles = FixCycles((CHECK,), most=1)
    for ended in (False, True):
        head = "Chunk ID: 00\nWall time: 1.0 seconds\n"
        assert call(cycles, "exec_command", f"{head}Process running with session ID 7\n", cmd=CHECK) == Continue()
        found = call(cycles, "write_stdin", f"{head}Process exited with code 2\nOutput:\nE\n", session_id=7)
        assert isinstance(found, Looping) is ended
        mend(cycles)


def test_no_limit_and_what_cannot_be_read_are_left_alone() -> None:
    assert all(found == Continue() for found in failures(FixCycles((CHECK,), most=0), 50))
    odd = ToolCall("c", "exec_command", "[" * 100_000, "function_call")
    assert FixCycles((CHECK,)).after_calls([odd], [{"output": "Process exited with code 1"}]) == Continue()
