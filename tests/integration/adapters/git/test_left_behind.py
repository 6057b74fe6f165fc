"""What interpreters leave behind is not a part of an agent's work, whether or not the repository's .gitignore knows it."""

import tarfile
from pathlib import Path

from tests.support_git import RUN, Desk, git


async def test_caches_are_not_taken_and_tracked_files_are(desk: Desk, tmp_path: Path) -> None:
    source = await desk.repo.base_source(RUN, desk.base)
    workspace = tmp_path / "workspace"
    with tarfile.open(source.root_archive) as tar:
        tar.extractall(workspace, filter="data")
    git(workspace, "checkout", "-q", desk.base)
    (workspace / "folder/__pycache__").mkdir()
    (workspace / "folder/__pycache__/b.cpython-311.pyc").write_bytes(b"\0")
    (workspace / ".pytest_cache").mkdir()
    (workspace / ".pytest_cache/v").write_text("x")
    (workspace / "new.txt").write_text("x")

    assert git(workspace, "status", "--porcelain", "-uall") == b"?? new.txt\n"

    (workspace / "kept.pyc").write_bytes(b"\0")
    git(workspace, "add", "-f", "kept.pyc")
    assert b"A  kept.pyc\n" in git(workspace, "status", "--porcelain", "-uall")
