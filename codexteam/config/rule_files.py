"""Codex's `rules/*.rules`: not used, as every command runs in a sandbox, but a file Codex refuses is refused here.

They are Starlark, whose syntax is a part of Python's: the parser that Python ships is enough to see what is broken.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

from codexteam.config.toml_file import read_bytes
from codexteam.errors import ConfigError

_DECISIONS = ("allow", "prompt", "forbidden")


def check_rules(folders: Iterable[Path]) -> None:
    """Check the rules files of Codex's home and of trusted projects.

    Raises:
        ConfigError: One is broken, or has a decision that does not exist.
    """
    for folder in dict.fromkeys(folders):
        rules = folder / "rules"
        for path in sorted(rules.glob("*.rules")) if rules.is_dir() else ():
            _check(path, read_bytes(path) or b"")


def _check(path: Path, content: bytes) -> None:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ConfigError(
            f"{path}:{line}: not a rules file: {error}", hint="see `codex execpolicy check --help`"
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "prefix_rule":
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg == "decision" and isinstance(value, ast.Constant) and value.value not in _DECISIONS:
                    raise ConfigError(
                        f"{path}:{value.lineno}: decision: found {value.value!r}, allowed is one of {', '.join(_DECISIONS)}"
                    )
