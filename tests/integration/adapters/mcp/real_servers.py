"""The servers that people really use, where they are installed: npm packages and Python ones.

`CODEXTEAM_TEST_MCP_SERVERS` names a folder with `node_modules` and a virtual environment `py`, as `.ci/run` makes it.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

_FOLDER = os.environ.get("CODEXTEAM_TEST_MCP_SERVERS", "")
_MODULES = {"filesystem": "server-filesystem", "memory": "server-memory", "everything": "server-everything"}
_PROGRAMS = {"git": "mcp-server-git", "fetch": "mcp-server-fetch"}


@dataclass(frozen=True, slots=True)
class RealServer:
    """How one is started."""

    command: str
    args: tuple[str, ...] = ()


def real_server(name: str) -> RealServer:
    """Give one of `filesystem`, `memory`, `everything`, `git` and `fetch`; skip the test where it is not installed."""
    if not _FOLDER:
        pytest.skip("real MCP servers: CODEXTEAM_TEST_MCP_SERVERS names no folder (see .ci/run)")
    folder = Path(_FOLDER)
    if name in _PROGRAMS:
        program = folder / "py" / "bin" / _PROGRAMS[name]
        if not program.exists():
            pytest.skip(f"real MCP servers: there is no {program}")
        return RealServer(str(program))
    script = folder / "node_modules" / "@modelcontextprotocol" / _MODULES[name] / "dist" / "index.js"
    node = shutil.which("node")
    if node is None or not script.exists():
        pytest.skip(f"real MCP servers: there is no node, or no {script}")
    return RealServer(node, (str(script),))
