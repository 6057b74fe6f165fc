"""A plan as a script: it does what the steps do, by itself."""

import subprocess
from pathlib import Path

from codexteam.environment.plan import Ecosystem, Offer, SetupPlan, SetupStep, setup_script
from tests.support_repositories import plan_of


def step(command: str, *, optional: bool = False, folder: str = "", **variables: str) -> SetupStep:
    return SetupStep(command, 'a file\'s "word"', Ecosystem.OTHER, folder, (), optional, variables=variables)


def run(folder: Path, *steps: SetupStep) -> subprocess.CompletedProcess[str]:
    (folder / "inside").mkdir()
    text = setup_script(SetupPlan(needs=Offer(steps, variables={"A": "it's one"})))
    return subprocess.run(["sh", "-c", text], cwd=folder, capture_output=True, text=True, check=False)


def test_steps_run_in_their_folders_with_their_variables(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        step('[[ "$A" = "it\'s one" ]] && echo "$B" > b.txt', folder="inside", B="x y"),
        step("exit 0\nfalse"),
        step("cat <<'EOF' > c.txt\n$A ( case x) \nEOF"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "inside/b.txt").read_text() == "x y\n"
    assert (tmp_path / "c.txt").read_text() == "$A ( case x) \n"


def test_a_step_that_fails_ends_the_script_unless_it_is_optional(tmp_path: Path) -> None:
    done = run(tmp_path, step("false\necho too late > d.txt", optional=True), step("exit 5"), step("echo > e.txt"))
    assert done.returncode == 5
    assert not (tmp_path / "d.txt").exists()
    assert not (tmp_path / "e.txt").exists()


def test_every_step_of_a_plan_is_in_it() -> None:
    plan = plan_of(
        {"package.json": '{"packageManager": "pnpm@9.1.0", "scripts": {"test": "x"}}', "pnpm-lock.yaml": "a: 1"}
    )
    assert all(each.command in setup_script(plan) for each in plan.needs.steps)
    assert not setup_script(plan_of({"README.md": ""}))
