"""How an examination is shown."""

import io
import json

from codexteam.app.doctor import Examination
from codexteam.app.doctor_check import DoctorCheck, Status
from codexteam.views.setup import print_examination
from codexteam.views.streams import OutputStreams

GOOD = DoctorCheck("git", Status.OK, "2.43.0")
POOR = DoctorCheck("docker", Status.WARN, "no engine answers\nat all", "start one")
BAD = DoctorCheck("disk", Status.FAIL, "\x1b[31m0.1 GiB free", "free some space")


def show(examination: Examination, *, as_json: bool) -> str:
    """Print an examination; give what was printed."""
    out = io.StringIO()
    print_examination(OutputStreams(as_json, "auto", {}, out, io.StringIO()), examination)
    return out.getvalue()


def test_each_line_has_its_status_and_what_to_do() -> None:
    assert show(Examination((GOOD, POOR, BAD), 6), as_json=False) == (
        "ok    git: 2.43.0\n"
        "warn  docker: no engine answers\n"
        "      at all\n"
        "      -> start one\n"
        "fail  disk: \\x1b[31m0.1 GiB free\n"
        "      -> free some space\n"
        "\n"
        "Not ready: see the lines marked fail.\n"
    )


def test_a_warning_does_not_keep_a_run_from_starting() -> None:
    assert show(Examination((GOOD, POOR), 0), as_json=False).endswith("\nReady: a run can start.\n")


def test_json_ends_with_a_terminal_record() -> None:
    shown = show(Examination((GOOD, BAD), 6), as_json=True)
    records = [json.loads(line) for line in shown.splitlines()]
    assert [record["type"] for record in records] == ["check", "check", "doctor.completed"]
    assert records[0] == {"type": "check", "name": "git", "status": "ok", "found": "2.43.0", "advice": ""}
    assert records[-1] == {"type": "doctor.completed", "ok": False, "exit_code": 6}
