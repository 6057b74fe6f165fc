"""What the documents say is what the program does."""

import re
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
