"""Suites as they are written: rows of SWE-bench and Pro, Harbor's folders, exercises."""

import json
from pathlib import Path

import pytest

from codexteam.adapters.suites.reading import read_suite, suite_mark
from codexteam.adapters.suites.swe_bench import named_tests
from codexteam.core.eval_task import EvalTask, StartCommit, StartFiles
from codexteam.core.ids import JSONObject
from codexteam.errors import UsageError

ROW: JSONObject = {
    "instance_id": "acme__tally-1",
    "repo": "acme/tally",
    "base_commit": "a" * 40,
    "problem_statement": "It rounds wrongly.",
    "patch": "diff --git a/tally.py b/tally.py\n",
    "test_patch": "diff --git a/tests/test_tally.py b/tests/test_tally.py\n",
    "FAIL_TO_PASS": '["tests/test_tally.py::test_round[0.5 - up]"]',
    "PASS_TO_PASS": ["tests/test_tally.py::test_sum"],
}


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    (tmp_path / "clones" / "acme__tally" / ".git").mkdir(parents=True)
    return tmp_path / "clones"


def only(tmp_path: Path, text: str, clones: Path, test_command: str = "") -> EvalTask:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    [task] = read_suite(file, repositories=clones, test_command=test_command).tasks
    return task


def test_a_swe_bench_row_hides_its_tests_and_knows_its_solution(tmp_path: Path, clones: Path) -> None:
    task = only(tmp_path, json.dumps(ROW), clones)

    assert task.name == "acme__tally-1"
    assert isinstance(task.start, StartCommit)
    assert task.start.commit == "a" * 40
    assert task.hidden.files[".codexteam-eval/must_pass"] == b"tests/test_tally.py::test_round[0.5 - up]"
    assert (len(task.hidden.commands), len(task.hidden.keep_commands)) == (1, 1)
    assert "test_round" not in task.goal
    assert task.reference is not None


@pytest.mark.parametrize("form", [["a", "b"], '["a", "b"]', "['a', 'b']"])
def test_lists_of_tests_are_lists_json_or_python(form: str | list[str]) -> None:
    assert named_tests(form) == ("a", "b")  # type: ignore[arg-type]  # a list of texts is one of values


def test_a_row_of_pro_takes_test_files_of_a_later_commit(tmp_path: Path, clones: Path) -> None:
    row = {key.lower(): value for key, value in ROW.items()} | {
        "fail_to_pass": "['tests/test_tally.py::test_round']",
        "before_repo_set_cmd": f"git reset --hard x\ngit checkout {'b' * 40} -- tests/test_tally.py tests/data.json",
        "requirements": "Round half up.",
    }

    task = only(tmp_path, json.dumps([{"row": row}]), clones)

    assert (task.hidden.commit, task.hidden.paths) == ("b" * 40, ("tests/test_tally.py", "tests/data.json"))
    assert "Round half up." in task.goal


def test_tests_of_another_runner_need_the_user_s_command(tmp_path: Path, clones: Path) -> None:
    row = json.dumps({**ROW, "FAIL_TO_PASS": ["test_round (tally.tests.Rounding)"]})

    with pytest.raises(UsageError, match="--test-command"):
        only(tmp_path, row, clones)

    task = only(tmp_path, row, clones, "./runtests.py {tests} {files}")
    assert task.hidden.commands == ("./runtests.py 'test_round (tally.tests.Rounding)' tests/test_tally.py",)
    assert task.hidden.keep_commands == ("./runtests.py tests/test_tally.py::test_sum tests/test_tally.py",)
    by_file = only(tmp_path, row, clones, "./runtests.py {files}")
    assert by_file.hidden.keep_commands == ()


def test_more_tests_than_a_line_has_room_for_run_by_several(tmp_path: Path, clones: Path) -> None:
    names = [f"tests/test_tally.py::test_{number:05}" for number in range(4_000)]
    row = json.dumps({**ROW, "PASS_TO_PASS": names})

    lines = only(tmp_path, row, clones, "./runtests.py {tests}").hidden.keep_commands

    assert max(map(len, lines)) < 100_000
    assert [word for line in lines for word in line.split()[1:]] == names


@pytest.mark.parametrize("text", ["", "[]", "{", "PAR1\x00", '{"instance_id": "x"}'])
def test_a_file_without_a_task_says_why(tmp_path: Path, clones: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl"):
        only(tmp_path, text, clones)


def test_a_repository_that_is_not_here_leaves_its_row_out(tmp_path: Path, clones: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in (ROW, {**ROW, "instance_id": "other", "repo": "acme/none"})))

    suite = read_suite(file, repositories=clones)

    assert [task.name for task in suite.tasks] == ["acme__tally-1"]
    assert suite.left_out[0][0] == "other"


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def test_a_harbor_task_runs_its_script_in_the_workspace(tmp_path: Path) -> None:
    write(
        tmp_path / "suite" / "hello",
        {
            "task.toml": "[agent]\ntimeout_sec = 60.0\n[environment]\n",
            "instruction.md": "Write hello.txt\n",
            "environment/Dockerfile": "FROM debian\n",
            "environment/start.txt": "x\n",
            "tests/test.sh": "bash /tests/check.sh; echo 1 > /logs/verifier/reward.txt\n",
            "tests/check.sh": "grep hello hello.txt\n",
        },
    )
    write(
        tmp_path / "suite" / "elsewhere", {"task.toml": "", "instruction.md": "Write /app/x", "tests/test.sh": "true"}
    )

    suite = read_suite(tmp_path / "suite")

    [task] = suite.tasks
    assert (task.name, task.seconds, task.dockerfile) == ("hello", 60.0, "Dockerfile")
    assert isinstance(task.start, StartFiles)
    assert set(task.start.files) == {"Dockerfile", "start.txt"}
    moved = task.hidden.files[".harbor/tests/test.sh"].decode()
    assert "/.harbor/tests/check.sh" in moved
    assert "/logs/verifier" not in moved
    assert [name for name, _ in suite.left_out] == ["elsewhere"]


def test_an_exercise_keeps_tests_and_solution_from_agents(tmp_path: Path) -> None:
    write(
        tmp_path / "python" / "exercises" / "practice" / "two-fer",
        {
            ".meta/config.json": json.dumps(
                {"files": {"solution": ["two_fer.py"], "test": ["two_fer_test.py"], "example": [".meta/example.py"]}}
            ),
            ".meta/example.py": "ANSWER\n",
            ".docs/instructions.md": "# Two Fer\n",
            ".approaches/f-string/content.md": "def two_fer(name): ...\n",
            ".articles/performance/code/Benchmark.py": "def two_fer(name): ...\n",
            "two_fer.py": "pass\n",
            "two_fer_test.py": "import unittest\n",
        },
    )
    write(
        tmp_path / "prolog" / "x",
        {".meta/config.json": '{"files": {"test": ["x.plt"]}}', ".docs/instructions.md": "X", "x.plt": ""},
    )

    suite = read_suite(tmp_path)

    [task] = suite.tasks
    assert task.name == "python-two-fer"
    assert isinstance(task.start, StartFiles)
    assert set(task.start.files) == {"two_fer.py"}
    assert task.hidden.commands == ("python3 -m unittest two_fer_test",)
    assert task.reference is not None
    assert task.reference.files == {"two_fer.py": b"ANSWER\n"}
    assert "--test-command" in suite.left_out[0][1]


def test_a_suite_is_known_by_what_decides(tmp_path: Path, clones: Path) -> None:
    one, other = (only(tmp_path, json.dumps({**ROW, "base_commit": base}), clones) for base in ("a" * 40, "b" * 40))

    assert suite_mark([one]) != suite_mark([other])
    assert suite_mark([one]) == suite_mark([one])
