"""A session that fails before anybody works: it is noted how it ended, as for every other one."""

import asyncio
from pathlib import Path

import pytest

from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app.demo import RECORDING
from codexteam.app.run import RunOptions, run_goal
from codexteam.config.request import LoadRequest
from codexteam.core.ids import JSONValue
from codexteam.errors import StoreError
from codexteam.ports.store import StoredSession
from codexteam.views.run_view import RunView
from tests.support_base_source import make_repository


def test_a_sitting_that_cannot_write_its_history_is_noted_to_have_ended(tmp_path: Path) -> None:
    repository, state_dir = tmp_path / "repository", tmp_path / "state"
    make_repository(repository, {"a.txt": b"one\n"})
    state_dir.mkdir()
    (state_dir / "runs").write_text("in the way of a folder")
    flags: dict[str, JSONValue] = {"model_provider": "replay", "codexteam.replay_file": str(RECORDING)}
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CODEX_HOME": str(tmp_path)}
    load = LoadRequest(repository, environment, flags=flags, system_folder=tmp_path / "none")

    with pytest.raises(StoreError, match=r"events\.jsonl: Not a directory"):
        run_goal("a goal", RunOptions(load, RunView(quiet=True), state_dir=state_dir))

    async def look() -> tuple[str, list[StoredSession]]:
        store = SqliteStore(state_dir / "state.sqlite")
        try:
            (record,) = await store.runs()
            return record.state, await store.sessions(record.run_id)
        finally:
            await store.close()

    state, (session,) = asyncio.run(look())
    assert state == "interrupted"
    assert session.ended_at_seconds is not None
    assert session.ending.startswith("error: ")
