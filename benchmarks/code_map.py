"""How much of what real commits touched the map of the code names, and what an index of many files costs.

    python -m benchmarks.code_map MIRRORS --commits 100
    python -m benchmarks.code_map MIRRORS --files 20000

The first takes commits of repositories (each a git directory, or a folder with one named `repo`), evenly from their newest
ones. The goal is the commit's message; the map is drawn of its parent with 2,000 tokens. A line that the commit changed or
removed, or behind which it added, is found if the innermost part of the code that it is in is in the map. The list of files
it is compared with holds paths in order of the alphabet for as many tokens; a line is found if its file is in it at all.
"""

import argparse
import asyncio
import os
import re
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.code_map.sqlite_index import SqliteSymbolIndex
from codexteam.adapters.git.committed_files import CommittedFiles
from codexteam.core.ids import CommitId
from codexteam.ports.symbol_index import CodePart
from codexteam.run.code_map import CodeMap, chosen_for

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? ", re.MULTILINE)
_NEWEST = 400
_MOST_FILES = 20
#: A smaller repository needs no map.
_LEAST_FILES = 100


@dataclass(frozen=True, slots=True)
class Case:
    git_dir: Path
    commit: str
    parent: str
    goal: str
    lines: dict[bytes, set[int]]


@dataclass(frozen=True, slots=True)
class Found:
    lines: float
    files: float
    listed: float
    """By the list of files, each counted whole."""
    read: float
    """By the list of files, as far as it goes for as many lines as the map names."""
    parts: int
    named: int
    """Lines that the map names."""


def _git(git_dir: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", f"--git-dir={git_dir}", "-c", "core.quotePath=false", *words], capture_output=True, check=True
    )
    return done.stdout.decode("utf-8", "replace")


def cases_of(git_dir: Path, wanted: int) -> Iterator[Case]:
    log = _git(git_dir, "log", "--no-merges", f"-{_NEWEST}", "--format=%H %P", "HEAD").split("\n")
    pairs = [line.split(" ") for line in log if line.count(" ") == 1]
    taken = 0
    step = max(1, len(pairs) // (wanted * 3))
    for commit, parent in pairs[::step]:
        if taken == wanted or not parent:
            return
        goal = re.sub(
            r"^(Co-authored|Signed-off|Reviewed)-.*$",
            "",
            _git(git_dir, "log", "-1", "--format=%B", commit),
            flags=re.MULTILINE,
        ).strip()
        try:
            lines = touched(git_dir, parent, commit)
        except subprocess.CalledProcessError:  # a mirror that lacks some files of old commits
            continue
        if (
            len(goal.split()) >= 4
            and 0 < len(lines) <= _MOST_FILES
            and not re.match(r"(?i)bump|release|version|v?\d", goal)
        ):
            taken += 1
            yield Case(git_dir, commit, parent, goal, lines)


def touched(git_dir: Path, parent: str, commit: str) -> dict[bytes, set[int]]:
    """Return the lines of files of the parent that a commit changed."""
    diff = _git(git_dir, "diff", "--no-renames", "--diff-filter=MD", "-U0", "--no-color", parent, commit)
    found: dict[bytes, set[int]] = {}
    for part in re.split(r"^diff --git ", diff, flags=re.MULTILINE)[1:]:
        named = re.search(r"^--- a/(.*)$", part, re.MULTILINE)
        if named is None:
            continue
        lines: set[int] = set()
        for start, count in _HUNK.findall(part):
            lines.update(range(int(start), int(start) + max(1, int(count or 1))))
        if lines:
            found[named[1].encode()] = {max(1, line) for line in lines}
    return found


async def measure(case: Case, index_folder: Path, tokens: int) -> Found:
    files = CommittedFiles(case.git_dir, os.environ)
    index = SqliteSymbolIndex(index_folder / f"{case.git_dir.parent.name}.sqlite3")
    code = CodeMap(files, index, max_files=50_000, wait_seconds=3_600)
    try:
        parent = CommitId(case.parent)
        tree = await code.tree(parent)
        chosen = chosen_for(await code.ranked(tree, case.goal), tokens=tokens)
        numbers = {path: number for number, path in tree.paths.items()}
        parts = await index.parts_of(tree, [numbers[path] for path in case.lines if path in numbers])
        owners = own_lines(parts)
        ids = {one.part.id for one in chosen}
        whole = sum(map(len, case.lines.values()))
        hit = sum(owners.get((path, line)) in ids for path, found in case.lines.items() for line in found)
        named = {one.part.path for one in chosen}
        own = own_lines(await index.parts_of(tree, [numbers[one.part.path] for one in chosen]))
        lines_named = sum(number in ids for number in own.values())
        listing = sorted(path for path, mode, _ in await files.list_files(parent) if mode.startswith("100"))
        listed = recall_of(case.lines, within(listing, {path: len(path) + 1 for path in listing}, tokens * 4))
        lengths: dict[bytes, int] = defaultdict(int)
        for path, _ in own_lines(await index.parts_of(tree, list(tree.paths))):
            lengths[path] += 1
        read = recall_of(case.lines, within(listing, lengths, lines_named))
        files_found = len(named & set(case.lines)) / len(case.lines)
        return Found(hit / whole, files_found, listed, read, len(chosen), lines_named)
    finally:
        await code.close()
        await index.close()
        files.close()


def own_lines(parts: Sequence[CodePart]) -> dict[tuple[bytes, int], int]:
    """Return each line's innermost part."""
    owners: dict[tuple[bytes, int], int] = {}
    for part in sorted(parts, key=lambda part: (part.path, part.first_line, -part.last_line)):
        for line in range(part.first_line, part.last_line + 1):
            owners[part.path, line] = part.id
    return owners


def within(paths: Sequence[bytes], costs: Mapping[bytes, int], room: int) -> set[bytes]:
    """Return the first paths that there is room for."""
    taken: set[bytes] = set()
    for path in paths:
        room -= costs.get(path, 0)
        if room < 0:
            break
        taken.add(path)
    return taken


def recall_of(lines: Mapping[bytes, set[int]], paths: set[bytes]) -> float:
    return sum(len(found) for path, found in lines.items() if path in paths) / sum(map(len, lines.values()))


def repositories_in(mirrors: Path) -> list[Path]:
    here = sorted(path for path in (*mirrors.glob("*/repo"), *mirrors.glob("*.git")) if (path / "HEAD").exists())
    return [path for path in here if _git(path, "ls-tree", "-r", "HEAD").count("\n") >= _LEAST_FILES]


def recall(mirrors: Path, commits: int, tokens: int) -> None:
    repositories = repositories_in(mirrors)
    each = max(1, -(-commits // len(repositories)))
    cases = [case for repository in repositories for case in cases_of(repository, each)][:commits]
    total: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            began = time.monotonic()
            found = asyncio.run(measure(case, Path(folder), tokens))
            total.append(found)
            print(
                f"{case.git_dir.parent.name[:28]:28} {case.commit[:8]} lines {found.lines:4.0%} files {found.files:4.0%} "
                f"list {found.listed:4.0%} {found.read:4.0%} parts {found.parts:3} lines {found.named:5} "
                f"{time.monotonic() - began:5.1f} s  {case.goal.splitlines()[0][:50]}",
                flush=True,
            )

    def mean(shares: Iterable[float]) -> str:
        return f"{sum(shares) / len(total):.1%}"

    used = len({case.git_dir for case in cases})
    print(f"{len(total)} commits of {used} repositories, {tokens} tokens:")
    print(f"  map: line recall {mean(one.lines for one in total)}, file recall {mean(one.files for one in total)}")
    print(f"  list of files: line recall {mean(one.listed for one in total)}, each file in it counted whole")
    print(f"  the same, for as many lines as the map names: {mean(one.read for one in total)}")
    median = sorted(one.lines for one in total)[len(total) // 2]
    print(
        f"  map, median {median:.1%}; at least one line of {sum(one.lines > 0 for one in total)} in {len(total)} commits"
    )


def gather(mirrors: Path, wanted: int, folder: Path) -> Path:
    """Make a repository of so many real files, from all mirrors."""
    count = 0
    for repository in repositories_in(mirrors):
        target = folder / repository.parent.name
        target.mkdir(parents=True)
        archive = subprocess.Popen(
            ["git", f"--git-dir={repository}", "archive", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with archive:
            subprocess.run(["tar", "-x", "-C", target], stdin=archive.stdout, stderr=subprocess.DEVNULL, check=False)
        count += sum(path.is_file() for path in target.rglob("*"))
        if count >= wanted:
            break
    for path in sorted(path for path in folder.rglob("*") if path.is_file())[wanted:]:
        path.unlink()
    for words in (("init", "-q"), ("add", "-A", "-f"), ("commit", "-q", "-m", "all")):
        _work(folder, *words)
    return folder


def _work(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=b", "-c", "user.email=b@localhost", "-c", "gc.auto=0")
    subprocess.run(["git", "-C", folder, *who, *words], check=True)


def change_one(folder: Path) -> None:
    changed = next(path for path in sorted(folder.rglob("*.py")) if path.stat().st_size > 2_000)
    changed.write_text(changed.read_text() + "\n\ndef added_by_this_benchmark():\n    return 1\n")
    _work(folder, "commit", "-q", "-a", "-m", "one")


async def index_of(folder: Path) -> None:
    files = CommittedFiles(folder / ".git", os.environ)
    index = SqliteSymbolIndex(folder.parent / "index.sqlite3")
    code = CodeMap(files, index, max_files=1_000_000, wait_seconds=86_400)
    try:
        began = time.monotonic()
        tree = await code.tree(files.find("HEAD"))
        seconds = time.monotonic() - began
        size = await index.size()
        print(
            f"{tree.total:,} files, {size.symbols:,} definitions: {seconds:.1f} s, {size.size_bytes / 1e6:.0f} MB on disk"
        )
        change_one(folder)
        began = time.monotonic()
        tree = await code.tree(files.find("HEAD"))
        print(f"one more commit: {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        await code.draw(files.find("HEAD"), "retry a request whose connection was reset, with jitter", tokens=2_000)
        print(f"a map: {time.monotonic() - began:.2f} s")
    finally:
        await code.close()
        await index.close()
        files.close()
    own, parsers = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"at most {own:.0f} MB in this process, {parsers:.0f} MB in the largest of its parsers")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mirrors", type=Path)
    parser.add_argument("--commits", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=2_000)
    parser.add_argument("--files", type=int, help="measure an index of so many files instead")
    asked = parser.parse_args()
    if asked.files is None:
        recall(asked.mirrors, asked.commits, asked.tokens)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            asyncio.run(index_of(gather(asked.mirrors, asked.files, Path(scratch) / "many")))
