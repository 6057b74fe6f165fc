"""What is not needed to say hello is not imported for it."""

import subprocess
import sys

import pytest

HEAVY = {"openai", "docker", "git", "rich", "asyncio", "mcp", "sqlite3", "httpx", "httpx2", "opentelemetry", "pydantic"}

SHOW_MODULES = """
import sys
sys.argv = ["codexteam", *sys.argv[1:]]
from codexteam.__main__ import main
code = main()
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def modules(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    assert modules("--help") & (HEAVY | {"tomllib"}) == set()


@pytest.mark.parametrize("command", ["init", "doctor", "roles", "config"])
def test_a_command_s_help_imports_nothing_heavy(command: str) -> None:
    assert modules(command, "--help") & (HEAVY | {"tomllib"}) == set()


def test_what_no_option_says_needs_no_converter() -> None:
    assert modules("roles") & {"pydantic", "packaging", "yaml"} == set()


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_answered_without_a_parser(flag: str) -> None:
    assert modules(flag) & (HEAVY | {"typer", "codexteam.cli.main"}) == set()
