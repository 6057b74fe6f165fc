"""The table of one goal in several repositories."""

import io
from pathlib import Path

from codexteam.app.fan_out import FannedRun
from codexteam.ports.reporter import RunEvent
from codexteam.views.fan_out import FanOutView
from codexteam.views.streams import OutputStreams


def finished(run: FannedRun, result: str, code: int, reason: str = "") -> FannedRun:
    """Let a run end."""
    run.progress.take(RunEvent("run.finished", 2.0, {"result": result, "reason": reason, "exit_code": code}))
    run.exit_code = code
    return run


def test_the_table_says_of_each_repository_how_its_run_ended() -> None:
    out, err = io.StringIO(), io.StringIO()
    view = FanOutView(OutputStreams(json_lines=False, color="never", environment={}, out=out, err=err))
    api = FannedRun("api", Path("/work/my api"))
    api.progress.take(RunEvent("branch.landed", 1.0, {"ref": "codexteam/r1", "commit": "1" * 40}))
    web = finished(FannedRun("web", Path("/work/web")), "not_green", 3, "2 findings \x1b[31mare open")
    late = FannedRun("late", Path("/work/late"), problem="not begun: the command was interrupted")

    off = FannedRun("off", Path("/work/off"), exit_code=6, problem="no credentials; export KEY=...")
    off.progress.run_id = "20261121-0231-7f3a"

    view.ended([finished(api, "green", 0), web, late, off], 130)

    shown = out.getvalue()
    assert [line.split()[:2] for line in shown.splitlines()[1:5]] == [
        ["api", "green"],
        ["web", "not"],
        ["late", "not"],
        ["off", "broke"],
    ]
    assert "codexteam/r1" in shown
    assert "why     web   2 findings \\x1b[31mare open" in shown
    assert "why     late  not begun: the command was interrupted" in shown
    assert "codexteam -C '/work/my api' apply" in shown
    assert "why     off   no credentials; export KEY=..." in shown
    assert "codexteam -C /work/off resume 20261121-0231-7f3a\n" in shown
