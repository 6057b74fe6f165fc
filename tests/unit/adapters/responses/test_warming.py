"""The client's import, begun before anybody calls: nothing of it is told when nobody does."""

import asyncio
import gc
import logging
import random
import sys

import pytest

from codexteam.adapters.responses.model import ResponsesModel
from tests.fakes.fake_clock import FakeClock


async def test_an_import_that_fails_and_that_nobody_waits_for_is_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)  # it cannot be imported
    model = ResponsesModel({}, {}, FakeClock(), random.Random().random)
    model.start_warming()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait(others)  # a run that ended before its first call
    await model.close()
    others.clear()
    del model
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
