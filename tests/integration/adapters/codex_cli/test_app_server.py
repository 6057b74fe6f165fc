"""The process of an app-server: how it begins, and that it ends with us."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codexteam.adapters.codex_cli.app_server import AppServer, AppServerError
from tests.support_processes import wait_for_end

pytestmark = pytest.mark.timeout(60)

#: Answers to the first request, and takes no notice of the end of its standard input.
_DEAF = """#!/bin/sh
read -r line
echo '{"id": 1, "result": {"userAgent": "codex/0.171.0"}}'
echo $$ > "$PID_FILE"
exec sleep 600
"""

#: Answers to every request with its version.
_VERSION = r"""#!/bin/sh
exec sed -nu 's/.*"id": \([0-9]*\).*/{"id": \1, "result": {"userAgent": "codex\/VERSION"}}/p'
"""

_OWNER = """
import asyncio, os, sys
from codexteam.adapters.codex_cli.app_server import AppServer

async def main():
    server = AppServer(sys.argv[1], os.environ, print, print, print)
    await server.start()
    print("started", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def _program(folder: Path, text: str) -> Path:
    path = folder / "codex"
    path.write_text(text)
    path.chmod(0o755)
    return path


async def _nothing(_method: str, _params: object) -> None:
    return None


def _server(program: Path) -> AppServer:
    return AppServer(str(program), os.environ, lambda *_: None, _nothing, lambda _: None)


async def test_an_app_server_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    program, pid_file = _program(tmp_path, _DEAF), tmp_path / "pid"
    environment = {**os.environ, "PID_FILE": str(pid_file)}
    argv = [sys.executable, "-c", _OWNER, str(program)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        while not pid_file.exists() or not pid_file.read_text().endswith("\n"):
            await asyncio.sleep(0.02)
        owner.kill()
    await wait_for_end(int(pid_file.read_text()))


async def test_a_program_that_was_replaced_is_started_anew(tmp_path: Path) -> None:
    server = _server(_program(tmp_path, _VERSION.replace("VERSION", "0.171.0")))
    await server.start()
    assert server.said == "codex/0.171.0"
    (tmp_path / "new").mkdir()
    _program(tmp_path / "new", _VERSION.replace("VERSION", "0.172.0")).rename(tmp_path / "codex")
    await server.start()
    assert server.said == "codex/0.171.0", "agents at work keep theirs"
    await server.renew()
    assert server.said == "codex/0.172.0"
    await server.close()


async def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    program = _program(tmp_path, "no program")
    program.chmod(0o644)
    server = _server(program)
    with pytest.raises(AppServerError, match=f"{program} cannot be started: Permission denied"):
        await server.start()
