"""Runs the command line that the user has set for deployments."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from codexteam.errors import LandingError, SurroundingsError

_STANDARD_ERROR = 2


def run_deploy_command(command: str, folder: Path, environment: Mapping[str, str], *, timeout_seconds: float) -> None:
    """Run it to its end; what it prints goes to the standard error.

    Raises:
        LandingError: it failed, or took too long and was killed with all that it started.
        SurroundingsError: there is no shell.
    """
    try:
        process = subprocess.Popen(
            ("/bin/sh", "-c", command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,
            start_new_session=True,
        )
    except OSError as error:
        raise SurroundingsError(f"/bin/sh cannot be started in {folder}: {error.strerror}") from error
    try:
        code = process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        raise LandingError(
            f"the deployment took more than {timeout_seconds:g} seconds, and was killed: look at how far it came",
            hint="[codexteam.deploy] timeout_seconds allows more",
        ) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise LandingError(
            f"the deployment failed: its command ended with exit code {code}", hint="what it printed is above"
        )
