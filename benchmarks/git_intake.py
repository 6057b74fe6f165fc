"""Taking in and merging a change of ten files in a repository of 20,000.

    python -m benchmarks.git_intake [--short] [--files N] [--changed N] [--rounds N]

Prints one JSON object. Next to each step stands what plain git needs for the same end, in the same run: for the intake,
`index-pack` of the same pack into an empty clone of the hub with no checks at all; for the merge, `git merge-tree`,
`commit-tree` and `update-ref` as bare processes. Times are medians in milliseconds.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from codexteam.adapters.git.content import SecretScanner
from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.core.ids import CommitId, RunId
from codexteam.core.paths import GUARDED_PATHS
from codexteam.ports.repo import Accepted, Identity, IntakePolicy, Merged
from codexteam.ports.sandbox import Snapshot

RUN = RunId("benchmark")
WHO = Identity("benchmark", "benchmark@codexteam.invalid", 1_700_000_000)
POLICY = IntakePolicy(allowed=(), guarded=GUARDED_PATHS)
LINES = 40


def git(cwd: Path, *argv: str, data: bytes | None = None) -> bytes:
    """Run plain git."""
    return subprocess.run(["git", *argv], cwd=cwd, check=True, input=data, stdout=subprocess.PIPE).stdout


def make_repository(root: Path, files: int) -> None:
    """Make a repository of so many files, 20 in a folder, by `fast-import`."""
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    parts = [b"commit refs/heads/main\ncommitter a <a@example.org> 1700000000 +0000\ndata 5\nfirst\n"]
    for number in range(files):
        text = b"".join(b"line %d of file %d\n" % (line, number) for line in range(LINES))
        path = b"package%d/module%d/file%d.py" % (number // 400, number // 20, number)
        parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path, len(text), text))
    git(root, "fast-import", "--quiet", data=b"".join(parts))
    git(root, "reset", "-q", "--hard")


def make_snapshot(hub: Path, base: CommitId, size: tuple[int, int], number: int) -> Snapshot:
    """Change some files on top of the base, and pack that as a sandbox does."""
    files, changed = size
    folder = hub.parents[1]
    environment = {**os.environ, "GIT_DIR": str(hub), "GIT_INDEX_FILE": str(folder / "index")}
    environment["GIT_AUTHOR_DATE"] = environment["GIT_COMMITTER_DATE"] = "1700000000 +0000"

    def run(*argv: str, data: bytes = b"") -> bytes:
        return subprocess.run(["git", *argv], check=True, input=data, stdout=subprocess.PIPE, env=environment).stdout

    scratch = folder / "scratch"
    if not scratch.exists():
        git(folder, "init", "-q", "--bare", str(scratch))
        (scratch / "objects/info/alternates").write_text(f"{hub}/objects\n")
    environment["GIT_DIR"] = str(scratch)
    run("read-tree", base)
    step = max(files // changed, 1)
    for index in range(changed):
        which = index * step + number % step
        text = b"".join(b"line %d of file %d\n" % (line, which) for line in range(LINES)) + b"round %d\n" % number
        blob = run("hash-object", "-w", "--stdin", data=text).decode().strip()
        path = f"package{which // 400}/module{which // 20}/file{which}.py"
        run("update-index", "--cacheinfo", f"100644,{blob},{path}")
    tree = run("write-tree").decode().strip()
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    tip = run(*who, "commit-tree", "-p", base, "-m", "work", tree).decode().strip()
    pack = folder / f"{number}.pack"
    pack.write_bytes(run("pack-objects", "--thin", "--revs", "--stdout", "-q", data=f"{tip}\n^{base}\n".encode()))
    return Snapshot(tip, base, pack, pack.stat().st_size)


async def timed(what: Awaitable[object]) -> float:
    """Give the milliseconds that something takes."""
    began = time.perf_counter()
    await what
    return (time.perf_counter() - began) * 1000


async def measure(folder: Path, files: int, changed: int, rounds: int) -> dict[str, object]:
    """Take everything once, and the steps of a task `rounds` times."""
    root = folder / "user"
    make_repository(root, files)
    repo = GitRepo(locate(root, os.environ), folder / "state", os.environ, scanner=SecretScanner())
    hub = folder / "state/hub.git"
    base = CommitId(git(root, "rev-parse", "HEAD").decode().strip())
    once = {
        "inspect_ms": await timed(repo.inspect()),
        "fetch_base_ms": await timed(repo.fetch_base(RUN, base)),
        "base_archive_ms": await timed(repo.base_source(RUN, base)),
    }
    snapshots = [make_snapshot(hub, base, (files, changed), number) for number in range(rounds + 1)]
    once["first_intake_ms"] = await timed(repo.intake(snapshots[0], POLICY))  # imports, and the base's count
    steps: dict[str, list[float]] = {
        name: [] for name in ("intake", "commit", "merge", "update_branch", "land", "diff_text")
    }
    plain: dict[str, list[float]] = {"index_pack": [], "merge": []}
    tip = base
    await repo.update_branch(RUN, base, None)
    for number, snapshot in enumerate(snapshots[1:], 1):
        taken = folder / f"plain-{number}"
        git(folder, "init", "-q", "--bare", "--template=", str(taken))
        (taken / "objects/info").mkdir(exist_ok=True)
        (taken / "objects/info/alternates").write_text(f"{hub}/objects\n")
        data = snapshot.pack.read_bytes()
        began = time.perf_counter()
        git(taken, "index-pack", "--stdin", "--fix-thin", data=data)
        plain["index_pack"].append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        intake = await repo.intake(snapshot, POLICY)
        steps["intake"].append((time.perf_counter() - began) * 1000)
        if not isinstance(intake, Accepted) or len(intake.changes) != changed:
            raise SystemExit(f"the intake did not take {changed} changes: {intake}")
        began = time.perf_counter()
        work = await repo.commit(intake.tree, [base], f"work {number}", WHO)
        steps["commit"].append((time.perf_counter() - began) * 1000)
        plain["merge"].append(_plain_merge(hub, tip, work))
        began = time.perf_counter()
        merged = await repo.merge(tip, work, f"merge {number}", WHO)
        steps["merge"].append((time.perf_counter() - began) * 1000)
        if not isinstance(merged, Merged):
            raise SystemExit(f"every round changes other files, yet round {number} conflicts: {merged}")
        steps["update_branch"].append(await timed(repo.update_branch(RUN, merged.commit, tip)))
        steps["land"].append(await timed(repo.land(RUN, merged.commit)))
        steps["diff_text"].append(await timed(repo.diff_text(base, work, limit_bytes=1 << 20)))
        tip = merged.commit
    at_once = await timed(asyncio.gather(*(repo.intake(snapshot, POLICY) for snapshot in snapshots[1:9])))
    await repo.close()
    return {
        "files": files,
        "changed": changed,
        "rounds": rounds,
        "once": {name: round(value, 1) for name, value in once.items()},
        "median_ms": {name: round(statistics.median(values), 1) for name, values in steps.items()},
        "plain_git_median_ms": {name: round(statistics.median(values), 1) for name, values in plain.items()},
        "intakes_at_once": {"count": len(snapshots[1:9]), "wall_ms": round(at_once, 1)},
        "python": platform.python_version(),
        "git": git(folder, "version").decode().strip(),
        "cpus": os.cpu_count(),
    }


def _plain_merge(hub: Path, ours: str, theirs: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        ["git", "--git-dir", str(hub), "merge-tree", "--write-tree", ours, theirs], check=False, stdout=subprocess.PIPE
    )
    if done.returncode == 0:
        tree = done.stdout.split()[0].decode()
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        commit = git(hub, *who, "commit-tree", "-p", ours, "-m", "x", tree).decode().strip()
        git(hub, "update-ref", "refs/heads/plain", commit)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--changed", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--short", action="store_true", help="2,000 files and 3 rounds")
    given = parser.parse_args()
    files, rounds = (2_000, 3) if given.short else (given.files, given.rounds)
    with tempfile.TemporaryDirectory(prefix="git-intake-") as folder:
        result = asyncio.run(measure(Path(folder), files, given.changed, rounds))
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
