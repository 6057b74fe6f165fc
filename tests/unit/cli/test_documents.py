"""What the documents say is what the program does."""

import ast
import re
import signal
import tomllib
from pathlib import Path
from typing import get_args

import typer

from codexteam.cli.main import app
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.core.effects import EFFECTS, Effect, Result
from codexteam.core.state import TASK_TRANSITIONS

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def task_diagram() -> str:
    """Draw the life of a task from the table, as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for (phase, event), targets in TASK_TRANSITIONS.items():
        label = event.__name__ if event else "scheduled"
        lines += [f"    {phase.value} --> {target.value}: {label}" for target in sorted(targets)]
    return "\n".join(lines) + "\n"


def effects_table() -> str:
    """Draw what each effect does and answers with, and which fact says that it starts."""
    lines = ["| effect | does | answers with | told as |", "| --- | --- | --- | --- |"]
    return "\n".join((*lines, *map(_effect_row, EFFECTS))) + "\n"


def _effect_row(kind: type[Effect]) -> str:
    does, _, answers = (kind.__doc__ or "").partition("\n")[0].partition(" -> ")
    names = answers.rstrip(".").replace(" or ", ", ").split(", ") if answers else []
    listed = ", ".join(f"`{name}`" for name in names) or "none"
    told = EFFECTS[kind].tells
    return f"| `{kind.__name__}` | {does.partition(' No event')[0]} | {listed} | {f'`{told}`' if told else ''} |"


def test_the_architecture_note_draws_the_table_that_is_the_code() -> None:
    note = (ROOT / "codexteam/README.md").read_text(encoding="utf-8")

    assert note.split("```mermaid\n")[1].split("```")[0] == task_diagram()


def test_the_architecture_note_lists_every_effect() -> None:
    note = (ROOT / "codexteam/README.md").read_text(encoding="utf-8")

    assert note.split("<!-- effects -->\n")[1].split("<!-- /effects -->")[0] == effects_table()
    assert set(EFFECTS) == set(get_args(Effect))


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


def test_the_readme_is_a_front_page_whose_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 150
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text("utf-8"))]

    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_the_ten_roles() -> None:
    assert [name for name in BUNDLED_ROLES if name not in README] == []


def test_the_readme_s_exit_codes_are_the_program_s() -> None:
    table = README.split("## Exit codes")[1]

    for result in Result:
        assert f"\n| {result.exit_code}" in table
    [interrupted] = [line for line in table.splitlines() if "interrupted" in line]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert str(128 + number) in interrupted


PROMISES = (ROOT / "docs/security.md").read_text(encoding="utf-8").split("## Promises\n")[1].split("\n## ")[0]
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    """The names of a module's tests, read and not imported."""
    return set(re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ") and not line.startswith(("| **", "| ---"))]
    missing = []
    for row in rows[1:]:
        promise, _, held_by = row.strip("| ").partition(" | ")
        named = NAMED.findall(held_by)
        assert named, f"no test holds: {promise}"
        assert not NAMED.sub("", held_by).strip(), f"not understood: {held_by}"
        for file, name in named:
            where = [path for path in TEST_FILES if path.as_posix().endswith(f"/{file}")]
            if not any(name in names_in(path) for path in where):
                missing.append(f"{file}::{name}")
    assert len(rows) > 30
    assert missing == []


def test_the_promise_says_how_many_attacks_there_are_at_least() -> None:
    table = ast.parse((ROOT / "tests/attacks/table.py").read_text(encoding="utf-8"))
    made = [node for node in ast.walk(table) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Attack"]
    [least] = re.findall(r"More than (\d+) attacks", PROMISES)

    assert len(made) > int(least)
