"""What tests against a real engine share as fixtures."""

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def settled() -> AsyncIterator[None]:
    """Wait until what a test's relay still carries has ended: its sockets are closed before its loop is."""
    yield
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=10)
