from codexteam.agent.loop_detection import Continue, Looping, StuckDetector
from codexteam.agent.tools.toolbox import ToolCall
from codexteam.core.ids import JSONObject


def turn(detector: StuckDetector, arguments: str, output: str, name: str = "exec_command") -> Continue | Looping:
    told: JSONObject = {"type": "function_call_output", "call_id": "c", "output": output}
    return detector.after_calls([ToolCall("c", name, arguments, "function_call")], [told])


def header(number: int, state: str = "Process exited with code 0") -> str:
    return f"Chunk ID: {number:06x}\nWall time: {number}.0 seconds\n{state}\nOriginal token count: 0\nOutput:\n"


def test_ids_and_times_do_not_make_outputs_differ() -> None:
    detector = StuckDetector()
    ends = [turn(detector, "ls", header(number)) for number in range(5)]
    assert [bool(isinstance(end, Continue) and end.hint) for end in ends] == [False, False, True, True, False]
    assert isinstance(ends[-1], Looping)


def test_other_outputs_are_progress() -> None:
    detector = StuckDetector()
    assert all(turn(detector, "make", header(1) + str(number)) == Continue() for number in range(50))


def test_something_else_in_between_starts_the_count_anew() -> None:
    detector = StuckDetector()
    for _ in range(20):
        for arguments in ("a", "a", "b", "c"):
            assert turn(detector, arguments, "same") == Continue()


def test_waiting_for_a_command_is_patience() -> None:
    detector = StuckDetector()
    running = header(1, "Process running with session ID 1")
    assert all(turn(detector, "{}", running, "write_stdin") == Continue() for _ in range(100))


def test_a_text_between_empty_answers_is_a_new_start() -> None:
    detector = StuckDetector()
    for _ in range(5):
        assert isinstance(detector.after_nothing(), Continue)
        turn(detector, "x", "y" * 1)
        detector = StuckDetector()
    assert isinstance(detector.after_nothing(), Continue)
    assert isinstance(detector.after_nothing(), Looping)
