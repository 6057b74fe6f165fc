"""How an examination is shown."""

import json
import sys

from codexteam.app.checks import Check
from codexteam.app.doctor import Examination
from codexteam.core.text import clean, clean_line


def show(examination: Examination, *, as_json: bool) -> int:
    """Write an examination to standard output and give the exit code."""
    if as_json:
        for check in examination.checks:
            _line({"type": "check", "name": check.name, "status": check.status.value, **_words(check)})
        _line({"type": "doctor.completed", "ok": examination.exit_code == 0, "exit_code": examination.exit_code})
    else:
        for check in examination.checks:
            sys.stdout.write(_told(check))
        ready = "Ready: a run can start." if examination.exit_code == 0 else "Not ready: see the lines marked fail."
        sys.stdout.write(f"\n{ready}\n")
    return examination.exit_code


def _words(check: Check) -> dict[str, str]:
    return {"found": clean_line(check.found), "advice": clean_line(check.advice)}


def _told(check: Check) -> str:
    indent = "\n" + " " * 6
    lines = f"{check.status.value:<4}  {check.name}: {clean(check.found)}".replace("\n", indent)
    return lines + (f"{indent}-> {clean(check.advice)}" if check.advice else "") + "\n"


def _line(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record, ensure_ascii=True) + "\n")
