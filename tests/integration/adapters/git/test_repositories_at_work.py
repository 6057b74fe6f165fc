"""Repositories at work are found by the locks of their processes, wherever they are."""

from pathlib import Path

from codexteam.adapters.machine.lock import RepositoryAtWork, RepositoryLock, repositories_at_work


def test_a_repository_is_found_while_a_process_works_on_it(tmp_path: Path) -> None:
    state, common = tmp_path / "elsewhere", tmp_path / ".git"
    common.mkdir()
    known = RepositoryAtWork(tmp_path, state)

    with RepositoryLock(state, common, started="now", root=tmp_path):
        assert known in repositories_at_work()
    assert known not in repositories_at_work()
