"""How an examination is shown."""

import json

import pytest

from codexteam.app.checks import Check, Status
from codexteam.app.doctor import Examination
from codexteam.cli.doctor_view import show

GOOD = Check("git", Status.OK, "2.43.0")
POOR = Check("docker", Status.WARN, "no engine answers\nat all", "start one")
BAD = Check("disk", Status.FAIL, "\x1b[31m0.1 GiB free", "free some space")


def test_each_line_has_its_status_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    code = show(Examination((GOOD, POOR, BAD), 6), as_json=False)

    assert code == 6
    assert capsys.readouterr().out == (
        "ok    git: 2.43.0\n"
        "warn  docker: no engine answers\n"
        "      at all\n"
        "      -> start one\n"
        "fail  disk: \\x1b[31m0.1 GiB free\n"
        "      -> free some space\n"
        "\n"
        "Not ready: see the lines marked fail.\n"
    )


def test_a_warning_does_not_keep_a_run_from_starting(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(Examination((GOOD, POOR), 0), as_json=False) == 0
    assert capsys.readouterr().out.endswith("\nReady: a run can start.\n")


def test_json_ends_with_a_terminal_record(capsys: pytest.CaptureFixture[str]) -> None:
    show(Examination((GOOD, BAD), 6), as_json=True)

    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["type"] for record in records] == ["check", "check", "doctor.completed"]
    assert records[0] == {"type": "check", "name": "git", "status": "ok", "found": "2.43.0", "advice": ""}
    assert records[-1] == {"type": "doctor.completed", "ok": False, "exit_code": 6}
