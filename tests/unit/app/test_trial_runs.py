"""Runs of an evaluation's trials as processes."""

import asyncio
import signal
import sys
from pathlib import Path

from codexteam.app.evaluation.trial_runs import TrialRuns


async def test_a_signal_reaches_the_runs_that_are_left(tmp_path: Path) -> None:
    runs = TrialRuns(tmp_path, {}, (), asyncio.sleep, lambda _text: None)
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    at_work = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    runs._processes.update(ended=ended, at_work=at_work)

    runs.signal(signal.SIGTERM)

    assert await at_work.wait() == -signal.SIGTERM
