"""What the documents say is what the program does."""

import ast
import re
import signal
import tomllib
from pathlib import Path

import typer

from codexteam.cli.main import app
from codexteam.config.bundled import BUNDLED_ROLES
from codexteam.core.effects import Result
from codexteam.core.state import task_diagram

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_architecture_note_draws_the_table_that_is_the_code() -> None:
    note = (ROOT / "codexteam/README.md").read_text(encoding="utf-8")

    assert note.split("```mermaid\n")[1].split("```")[0] == task_diagram()


def test_the_architecture_note_names_every_layer() -> None:
    note = (ROOT / "codexteam/README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [name.strip() for layer in layers for name in layer.split("|")]

    assert [name for name in names if name not in ("__main__", "errors") and f"| `{name}` |" not in note] == []


def test_the_readme_lists_every_command_and_no_other() -> None:
    known = set(getattr(typer.main.get_command(app), "commands", {}))
    table = README.split("## Commands")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `codexteam")]
    listed = {name for row in rows for name in re.findall(r"`codexteam ([a-z]+)", row)}

    assert listed == known


def test_the_readme_names_the_ten_roles() -> None:
    assert [name for name in BUNDLED_ROLES if name not in README] == []


def test_the_readme_s_exit_codes_are_the_program_s() -> None:
    table = README.split("## Exit codes")[1]

    for result in Result:
        assert f"\n| {result.exit_code}" in table
    [interrupted] = [line for line in table.splitlines() if "interrupted" in line]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert str(128 + number) in interrupted


SAFETY = README.split("## Safety\n")[1].split("\n## ")[0]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    """The names of a module's tests, read and not imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in found if node.name.startswith("test_")}


def test_every_promise_names_its_tests_and_every_test_that_is_named_is_there() -> None:
    rows = [line for line in SAFETY.splitlines() if line.startswith("| ") and not line.startswith(("| **", "| ---"))]
    missing = []
    for row in rows[1:]:
        promise, _, held_by = row.strip("| ").partition(" | ")
        named = NAMED.findall(held_by)
        assert named, f"no test holds: {promise}"
        assert not NAMED.sub("", held_by).strip(), f"not understood: {held_by}"
        for file, name in named:
            where = [path for path in (ROOT / "tests").rglob(Path(file).name) if path.as_posix().endswith(f"/{file}")]
            if not any(name in names_in(path) for path in where):
                missing.append(f"{file}::{name}")
    assert len(rows) > 30
    assert missing == []


def test_the_readme_says_how_many_attacks_there_are_at_least() -> None:
    table = ast.parse((ROOT / "tests/attacks/table.py").read_text(encoding="utf-8"))
    made = [node for node in ast.walk(table) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Attack"]
    [least] = re.findall(r"More than (\d+) attacks", SAFETY)

    assert len(made) > int(least)
