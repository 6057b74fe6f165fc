"""Makes a `BaseSource` from a temporary git repository, with plain git: what the repository adapter does for a run."""

import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from codexteam.adapters.git.base import LEFT_BEHIND
from codexteam.core.ids import CommitId
from codexteam.ports.sandbox import BaseSource


def git(cwd: Path, *argv: str, data: bytes | None = None) -> bytes:
    """Run git and give its output."""
    return subprocess.run(["git", *argv], cwd=cwd, check=True, input=data, stdout=subprocess.PIPE).stdout


def make_repository(root: Path, files: Mapping[str | bytes, bytes | str]) -> CommitId:
    """Make a repository with one commit of these files; a value that is text is a link's target."""
    root.mkdir(parents=True)
    git(root, "init", "-q")
    for name, data in files.items():
        path = root / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, str):
            path.symlink_to(data)
        else:
            path.write_bytes(data)
    return commit_all(root, "first")


def commit_all(root: Path, message: str) -> CommitId:
    """Commit everything that is there."""
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)
    return CommitId(git(root, "rev-parse", "HEAD").decode().strip())


def base_source(
    repository: Path,
    into: Path,
    *,
    root: str = "HEAD",
    commit: str | None = None,
    extra: Mapping[str, bytes] | None = None,
) -> BaseSource:
    """Give the base for a commit (and one on top of it), its files written below `into`."""
    into.mkdir(parents=True, exist_ok=True)
    root_id = CommitId(git(repository, "rev-parse", root).decode().strip())
    tip_id = CommitId(git(repository, "rev-parse", commit or root).decode().strip())
    bare = into / f"bare-{root_id}"
    if bare.exists():
        shutil.rmtree(bare)
    git(into, "init", "-q", "--bare", "--template=", str(bare))
    url = f"file://{repository}"
    git(bare, "-c", "uploadpack.allowAnySHA1InWant=true", "fetch", "-q", "--depth=1", "--keep", url, root_id)
    archive = into / f"{root_id}.tar"
    with tarfile.open(archive, "w") as tar:
        (bare / "info").mkdir(exist_ok=True)
        (bare / "info/exclude").write_text("".join(f"{pattern}\n" for pattern in LEFT_BEHIND))
        for name in ("HEAD", "objects", "refs", "shallow", "info/exclude"):
            if (bare / name).exists():
                tar.add(bare / name, f".git/{name}")
    delta = None
    if tip_id != root_id:
        delta = into / f"{tip_id}.pack"
        names = f"{tip_id}\n^{root_id}\n".encode()
        delta.write_bytes(git(repository, "pack-objects", "--thin", "--revs", "--stdout", "-q", data=names))
    extras = None
    if extra:
        extras = into / "extra.tar"
        folder = into / "extra"
        with tarfile.open(extras, "w") as tar:
            for name, data in extra.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                tar.add(path, name)
    return BaseSource(root_id, archive, tip_id, delta, extras)


def unpack_snapshot(repository: Path, pack: Path, tip: str) -> dict[bytes, tuple[str, bytes]]:
    """Take a snapshot into a copy's objects; give path to (mode, content) of its tree."""
    git(repository, "index-pack", "--stdin", "--fix-thin", "--strict", data=pack.read_bytes())
    found = {}
    for line in git(repository, "ls-tree", "-r", "-z", tip).split(b"\0"):
        if line:
            facts, name = line.split(b"\t", 1)
            mode, kind, blob = facts.decode().split(" ")
            found[name] = (mode, git(repository, "cat-file", kind, blob) if kind == "blob" else blob.encode())
    return found
