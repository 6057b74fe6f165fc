from codexteam.agent.stuck import GoingOn, InCircles, StuckDetector
from codexteam.agent.tools.toolbox import ToolCall
from codexteam.core.json_types import JSONObject


def turn(detector: StuckDetector, arguments: str, output: str, name: str = "exec_command") -> GoingOn | InCircles:
    told: JSONObject = {"type": "function_call_output", "call_id": "c", "output": output}
    return detector.after_calls([ToolCall("c", name, arguments, "function_call")], [told])


def header(number: int, state: str = "Process exited with code 0") -> str:
    return f"Chunk ID: {number:06x}\nWall time: {number}.0 seconds\n{state}\nOriginal token count: 0\nOutput:\n"


def test_ids_and_times_do_not_make_outputs_differ() -> None:
    detector = StuckDetector()
    ends = [turn(detector, "ls", header(number)) for number in range(5)]
    assert [bool(isinstance(end, GoingOn) and end.hint) for end in ends] == [False, False, True, True, False]
    assert isinstance(ends[-1], InCircles)


def test_other_outputs_are_progress() -> None:
    detector = StuckDetector()
    assert all(turn(detector, "make", header(1) + str(number)) == GoingOn() for number in range(50))


def test_something_else_in_between_starts_the_count_anew() -> None:
    detector = StuckDetector()
    for _ in range(20):
        for arguments in ("a", "a", "b", "c"):
            assert turn(detector, arguments, "same") == GoingOn()


def test_waiting_for_a_command_is_patience() -> None:
    detector = StuckDetector()
    running = header(1, "Process running with session ID 1")
    assert all(turn(detector, "{}", running, "write_stdin") == GoingOn() for _ in range(100))


def test_a_text_between_empty_answers_is_a_new_start() -> None:
    detector = StuckDetector()
    for _ in range(5):
        assert isinstance(detector.after_nothing(), GoingOn)
        turn(detector, "x", "y" * 1)
        detector = StuckDetector()
    assert isinstance(detector.after_nothing(), GoingOn)
    assert isinstance(detector.after_nothing(), InCircles)
