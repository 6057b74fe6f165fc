"""A user's repository with a hub beside it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.content import SecretScanner
from codexteam.adapters.git.history_view import RunCommits
from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.adapters.git.saved_snapshots import Kept
from codexteam.core.ids import CommitId, RunId
from codexteam.core.paths import GUARDED_PATHS
from codexteam.ports.repo import Accepted, Identity, Intake, IntakePolicy
from codexteam.ports.sandbox import Snapshot
from tests.support_packs import Edit, snapshot_of

RUN = RunId("20260102-0304-abcd")
WHO = Identity("implementer", "implementer@codexteam.invalid", 1_700_000_000)
FREE = IntakePolicy(allowed=(), guarded=GUARDED_PATHS)


def git(cwd: Path, *argv: str, data: bytes | None = None, check: bool = True) -> bytes:
    """Run the user's git, unprotected."""
    done = subprocess.run(["git", *argv], cwd=cwd, check=False, input=data, capture_output=True)
    assert not check or done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def make_user(root: Path, files: Mapping[str, bytes]) -> CommitId:
    """Make a repository with one commit."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return CommitId(git(root, "rev-parse", "HEAD").decode().strip())


@dataclass
class Desk:
    """A run on a user's repository."""

    repo: GitRepo
    root: Path
    state: Path
    folder: Path
    base: CommitId

    @property
    def hub(self) -> Path:
        return self.state / "hub.git"

    def export(self, work: Kept, to: Path) -> None:
        """Write kept work as a patch, as `salvage` does."""
        commits = RunCommits(self.repo.places, self.state, os.environ)
        try:
            commits.write_snapshot(work, to)
        finally:
            commits.close()

    def snapshot(self, edits: Mapping[bytes, Edit], base: CommitId | None = None) -> Snapshot:
        return snapshot_of(self.folder / "packs", self.hub, base or self.base, edits)

    async def take(self, edits: Mapping[bytes, Edit], policy: IntakePolicy = FREE) -> Intake:
        return await self.repo.intake(self.snapshot(edits), policy)

    async def taken(self, edits: Mapping[bytes, Edit], base: CommitId | None = None) -> CommitId:
        intake = await self.repo.intake(self.snapshot(edits, base), FREE)
        assert isinstance(intake, Accepted), intake
        return await self.repo.commit(intake.tree, [base or self.base], "work", WHO)


async def open_desk(root: Path, folder: Path, **options: object) -> Desk:
    """Start a run on a repository."""
    places = locate(root, os.environ)
    state = folder / "state"
    options.setdefault("scanner", SecretScanner())
    repo = GitRepo(places, state, os.environ, **options)  # type: ignore[arg-type]  # as given
    base = (await repo.inspect()).head
    await repo.fetch_base(RUN, base)
    return Desk(repo, root, state, folder, base)
