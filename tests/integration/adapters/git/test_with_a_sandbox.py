"""From the user's repository through a real sandbox and back: base, workspace, snapshot, intake, next base."""

import hashlib
from pathlib import Path

import pytest

from codexteam.adapters.git.untracked import CopyRules
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import AgentKey, CommitId, Purpose
from codexteam.ports.repo import Accepted, Merged
from codexteam.ports.sandbox import Command, SandboxSpec
from tests.support_git import FREE, RUN, WHO, Desk, git, make_user, open_desk

pytestmark = pytest.mark.bubblewrap

_CONTENT = b"L" * 4000


@pytest.fixture
def user(tmp_path: Path) -> Path:
    inner = tmp_path / "inner"
    make_user(inner, {"s.txt": b"inside a submodule\n"})
    root = tmp_path / "user"
    name = hashlib.sha256(_CONTENT).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len(_CONTENT)}\n".encode()
    make_user(
        root,
        {
            "a.txt": b"one\n",
            "d/b.txt": b"two\n",
            ".gitignore": b".env\n",
            "large.bin": pointer,
            ".gitattributes": b"*.bin filter=lfs -text\n",
        },
    )
    (root / ".git/lfs/objects" / name[:2] / name[2:4]).mkdir(parents=True)
    (root / ".git/lfs/objects" / name[:2] / name[2:4] / name).write_bytes(_CONTENT)
    (root / ".env").write_text("PORT=1\n")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(root, "commit", "-qm", "submodule")
    return root


async def _attempt(
    desk: Desk, engine: BubblewrapEngine, base: CommitId, line: str, number: int
) -> tuple[str, CommitId]:
    """Run a line in a fresh workspace at a commit; give its output and the commit of what it changed."""
    agent = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", number)
    source = await desk.repo.base_source(RUN, base)
    spec = SandboxSpec(agent, source, SandboxMode.WORKSPACE_WRITE, NetworkPolicy(), SandboxLimits(memory_bytes=1 << 30))
    sandbox = await engine.start(spec)
    try:
        result = await sandbox.run(Command(("bash", "-lc", line)))
        assert result.ok, result.output
        snapshot = await sandbox.snapshot(desk.folder / f"{number}.pack")
    finally:
        await sandbox.close()
    assert snapshot is not None
    intake = await desk.repo.intake(snapshot, FREE)
    assert isinstance(intake, Accepted), intake
    return result.output.decode(), await desk.repo.commit(intake.tree, [base], line, WHO)


async def test_work_goes_through_a_sandbox_and_back(user: Path, tmp_path: Path) -> None:
    desk = await open_desk(user, tmp_path, copied=CopyRules((".env",)))
    engine = BubblewrapEngine(tmp_path / "sandboxes")
    await engine.check()
    line = "cat .env sub/s.txt; wc -c < large.bin; echo new > n.txt; rm d/b.txt; ln -s a.txt l; chmod +x a.txt"
    output, one = await _attempt(desk, engine, desk.base, line, 1)
    assert output.split("\n") == ["PORT=1", "inside a submodule", "4000", ""]
    changed = {(change.path, change.status, change.new_mode) for change in await desk.repo.changes(desk.base, one)}
    assert changed == {
        (b"a.txt", "M", "100755"),
        (b"d/b.txt", "D", "000000"),
        (b"l", "A", "120000"),
        (b"n.txt", "A", "100644"),
    }
    _, two = await _attempt(desk, engine, desk.base, "echo other > other.txt", 2)
    first = await desk.repo.merge(desk.base, one, "one", WHO)
    assert isinstance(first, Merged)
    second = await desk.repo.merge(first.commit, two, "two", WHO)
    assert isinstance(second, Merged)
    output, three = await _attempt(
        desk, engine, second.commit, "git status --short >&2; cat n.txt other.txt; echo 3 > n.txt", 3
    )
    assert output.endswith("new\nother\n")
    assert [change.path for change in await desk.repo.changes(second.commit, three)] == [b"n.txt"]
    await engine.close()
    await desk.repo.close()
