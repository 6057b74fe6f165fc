"""Eight tasks through the real command, real git and real sandboxes: each way in which work goes wrong, caught once."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from codexteam.core.ids import JSONObject
from tests.e2e.conftest import BUBBLEWRAP, MakeWorld
from tests.e2e.eight_tasks import GOAL, SECRET, expected_files
from tests.e2e.world import KEY, World, files_with, fingerprint, processes_of, tree_of

#: Tasks may write outside their paths: two of them then clash.
LENIENT = '[codexteam]\nscope = "warn"\n'
DOCKER = (
    '[codexteam.steps]\ndocumentation = "always"\n'
    '[codexteam.sandbox]\nkind = "docker"\nimage = "codexteam-sandbox:test"\n'
)
IMAGE_SCRIPT = Path(__file__).parents[2] / ".ci" / "sandbox_image.py"


@pytest.mark.slow
@pytest.mark.bubblewrap
@pytest.mark.timeout(600)
def test_eight_tasks_end_green_without_docker(make: MakeWorld) -> None:
    world, api = make(LENIENT + BUBBLEWRAP)
    _run_and_check(world)
    _check_calls(Counter(request.call.headers["idempotency-key"] for request in api.requests))
    assert processes_of(world) == []


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.timeout(600)
def test_eight_tasks_end_green_with_docker(make: MakeWorld) -> None:
    subprocess.run(["python3", str(IMAGE_SCRIPT)], check=True, capture_output=True)
    world, api = make(LENIENT + DOCKER)
    _run_and_check(world)
    _check_calls(Counter(request.call.headers["idempotency-key"] for request in api.requests))
    listed = subprocess.run(["docker", "ps", "-aq", "--no-trunc"], check=True, capture_output=True, text=True).stdout
    mine = [line for line in listed.split() if world.run_folder.name in _labels(line)]
    assert mine == []


def _labels(container: str) -> str:
    form = "{{json .Config.Labels}}{{.Name}}"
    done = subprocess.run(["docker", "inspect", "-f", form, container], check=False, capture_output=True, text=True)
    return done.stdout


def _check_calls(asked: Counter[str]) -> None:
    assert "" not in asked
    assert set(asked.values()) == {1}, "a turn that was answered is asked once"


def _run_and_check(world: World) -> None:
    before = fingerprint(world)
    ended = world.run("run", GOAL)
    assert ended.code == 0, ended.out + ended.err
    assert ended.out.startswith("green: every gate passed on the commit that the branch points to\n")
    assert fingerprint(world) == before
    check_branch(world)
    check_story(world.events())
    assert "- [x] **T9** Keep bars inside their cell" in (world.repository / "plan.md").read_text()
    check_report(world, ended.out)
    check_secrets(world, ended.out + ended.err)


def check_branch(world: World) -> None:
    """The branch has exactly the expected tree, on top of the user's commit, made by roles; nothing else is new."""
    assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree_of(world, expected_files())
    assert world.git("merge-base", world.branch, "main") == world.git("rev-parse", "main")
    authors = set(world.git("log", "--format=%ae", f"main..{world.branch}").split())
    assert authors == {"implementer@codexteam.invalid", "documentation@codexteam.invalid"}
    assert set(world.git("for-each-ref", "--format=%(refname)").split()) == {
        "refs/heads/main",
        f"refs/heads/{world.branch}",
    }


def check_story(events: list[JSONObject]) -> None:
    """The history tells of everything that went wrong, and of how it ended."""

    def found(kind: str, **fields: object) -> list[JSONObject]:
        return [
            event
            for event in events
            if event["kind"] == kind and all(event.get(name) == value for name, value in fields.items())
        ]

    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    [outside] = found("task.attempt_failed", task="T1")
    assert "tally/accounts has an absolute target" in str(outside["reason"])
    [lie] = found("task.acceptance_failed")
    assert (lie["task"], lie["attempt"]) == ("T2", 1)
    assert "FAIL: test_categories_are_added_up" in str(lie["evidence"])
    assert found("task.accepted", task="T2", attempt=1, summary="T2 is done; all tests pass.")
    [conflict] = found("task.conflicted")
    assert conflict["paths"] == ["tally/formats.py"]
    assert conflict["task"] in {"T4", "T5"}
    [resolving] = found("task.started", purpose="resolve")
    [merged] = found("task.merged", task=conflict["task"])
    assert (resolving["task"], resolving["attempt"]) == (merged["task"], merged["attempt"]) == (conflict["task"], 2)
    [leak] = found("task.attempt_failed", task="T6")
    assert "tally/settings.py:8: looks like a credential" in str(leak["reason"])
    [opened] = found("finding.opened")
    assert (opened["finding"], opened["title"]) == ("F1", "A bar in a category breaks the Markdown table")
    assert found("task.merged", task="T9")
    assert found("finding.fixed", finding="F1")
    assert {event["task"] for event in found("task.merged")} == {f"T{number}" for number in range(1, 10)}
    [landed] = found("branch.landed")
    last = max(event["round"] for event in found("gate.completed"))  # type: ignore[type-var]  # numbers
    verdicts = {event["gate"]: (event["verdict"], event["commit"]) for event in found("gate.completed", round=last)}
    assert set(verdicts) == {"ci_runner", "scan", "reviewer", "qa_test_author", "security_reviewer"}
    assert set(verdicts.values()) == {("ship", landed["commit"])}, "green is of the commit that the branch points to"
    assert (events[-1]["kind"], events[-1]["result"], events[-1]["exit_code"]) == ("run.finished", "green", 0)


def check_report(world: World, shown: str) -> None:
    """The run left its report, and other programs get what they read."""
    page = world.run_folder / "report.html"
    assert f"report  {page}\n" in shown
    html = page.read_text(encoding="utf-8")
    assert html.count('<details id="task-') == 9
    for part in ("evidence", "timeline", "plan", "gates", "findings", "cost", "changes", "receipts", "reproduce"):
        assert f'<section id="{part}">' in html
    data = json.loads(world.run("report", "--format", "json").out)
    assert {bar["kind"] for lane in data["timeline"] for bar in lane["bars"]} >= {"model", "command", "merge", "gate"}
    own = next(width["seconds"] for width in data["other_widths"]["widths"] if width["own"])
    assert own == pytest.approx(data["work_seconds"], rel=0.25)
    assert [life["what"] for life in data["findings"][0]["life"]] == ["opened", "fixed"]
    sarif = json.loads(world.run("report", "--format", "sarif").out)
    assert [result for run in sarif["runs"] for result in run["results"]] == [], "what was fixed does not stand"
    summed = json.loads(world.run("metrics", "--since", "1d", "--json").out.splitlines()[0])
    assert (summed["runs_by_state"], summed["tasks_merged"], summed["conflicts"]) == ({"green": 1}, 9, 1)


def check_secrets(world: World, shown: str) -> None:
    """The user's key is nowhere. What the model made up is in no commit, log, event or report.

    It stays in the refused attempt's own work, which is the next attempt's to mend, below a folder of the user's alone.
    """
    plan = (world.repository / "plan.md").read_text()
    assert KEY not in shown + plan
    assert SECRET not in shown + plan
    assert files_with(world, KEY) == []
    assert world.state.stat().st_mode & 0o077 == 0
    private = ("state.sqlite", f"runs/{world.run_folder.name}/tasks/T6/1/", f"kept/{world.run_folder.name}/T6.1-")
    assert [name for name in files_with(world, SECRET) if not name.startswith(private)] == []
