"""A run on a small repository."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support_git import Desk, make_user, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    root = tmp_path / "user"
    make_user(root, {"a.txt": b"one\ntwo\n", "folder/b.txt": b"three\n"})
    opened = await open_desk(root, tmp_path)
    yield opened
    await opened.repo.close()
