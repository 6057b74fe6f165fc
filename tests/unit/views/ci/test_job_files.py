"""What a job leaves for others: values that are one line each, and a summary that its system takes."""

import io
import json
from pathlib import Path

from codexteam.app.ci.handover import PULL
from codexteam.app.ci.surroundings import CiSurroundings, CiSystem
from codexteam.report.pipeline_outcome import PipelineOutcome
from codexteam.views.ci.job_files import SARIF, add_outputs, add_summary, shortened
from codexteam.views.ci.pipeline_view import PipelineView


def surroundings(folder: Path) -> CiSurroundings:
    return CiSurroundings(CiSystem.GITHUB, folder, folder / "step-summary", folder / "outputs")


def test_each_value_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / SARIF).touch()
    (tmp_path / PULL).touch()
    hostile = PipelineOutcome("run", "green\nresult=x", "", 0, "id", 0.1234567, tokens=7, branch="b\nexit-code=9")

    add_outputs(surroundings(tmp_path), hostile)

    lines = (tmp_path / "outputs").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert len(values) == len(lines) == 10
    assert (values["result"], values["branch"]) == ("green\\nresult=x", "b\\nexit-code=9")
    assert (values["exit-code"], values["cost-usd"], values["tokens"]) == ("0", "0.123457", "7")
    assert (values["sarif"], values["report"]) == (str(tmp_path / SARIF), "")


def test_a_branch_is_named_only_where_it_was_left(tmp_path: Path) -> None:
    add_outputs(surroundings(tmp_path), PipelineOutcome("run", "green", "", 0, branch="codexteam/x"))
    assert "branch=\n" in (tmp_path / "outputs").read_text()
    (tmp_path / PULL).touch()
    add_outputs(surroundings(tmp_path), PipelineOutcome("run", "green", "", 0, branch="codexteam/x"))
    assert "branch=codexteam/x\n" in (tmp_path / "outputs").read_text()


def test_a_cost_that_is_unknown_is_no_number(tmp_path: Path) -> None:
    add_outputs(surroundings(tmp_path), PipelineOutcome("run", "green", "", 0))
    assert "cost-usd=\n" in (tmp_path / "outputs").read_text()


def test_a_summary_that_is_too_long_ends_with_a_whole_line(tmp_path: Path) -> None:
    text = "".join(f"line {number} é\n" for number in range(200_000))

    add_summary(surroundings(tmp_path), text)

    shown = (tmp_path / "step-summary").read_bytes()
    assert len(shown) <= 1024 * 1024
    assert shown.decode().splitlines()[-1].endswith("more lines are in summary.md of the artifacts.")
    assert (tmp_path / "summary.md").read_text() == text
    assert shortened("short\n", 100) == "short\n"


def test_a_pull_request_that_could_not_be_opened_changes_what_is_left(tmp_path: Path) -> None:
    log = io.StringIO()
    view = PipelineView(surroundings(tmp_path), "run", log)
    view.nothing_to_review("main")

    view.published(["https://github.example/acme/api/pull/7"])
    opened = json.loads((tmp_path / "result.json").read_text())
    view.not_published("origin refuses the push", "codexteam pr", 7)

    assert opened["pull_requests"] == ["https://github.example/acme/api/pull/7"]
    left = json.loads((tmp_path / "result.json").read_text())
    assert (left["result"], left["exit_code"], left["command"]) == ("not_published", 7, "run")
    assert left["review"] == opened["review"]
    assert "exit-code=7\n" in (tmp_path / "outputs").read_text().partition("exit-code=0\n")[2]
    assert "was not opened" in (tmp_path / "step-summary").read_text()
    assert len((tmp_path / "summary.md").read_text().splitlines()) > 3
    assert "::error" in log.getvalue()
