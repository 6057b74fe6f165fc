"""What the gate `scan` finds: planted weaknesses in six languages, and alarms over what public repositories really changed.

    python -m benchmarks.scan MIRRORS [--commits 50] [--only NAME ...]

MIRRORS is a folder of git directories. Their code is read, and nothing of it is run. The alarms are printed, since only a
reader can say which of them are false.
"""

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from codexteam.adapters.scan.programs import find_programs
from codexteam.adapters.scan.source_scanner import SourceScanner
from codexteam.core.findings import Severity
from codexteam.core.scan_hits import ScanHit, new_hits, severity_of
from codexteam.core.text import clean_line
from codexteam.ports.scanner import ScanFailed, SourceFile

PLANTED = Path(__file__).with_name("planted_weaknesses.yml")
_FILE_BYTES = 1 << 20


def git(repo: Path, *words: str) -> bytes:
    """Return what a git command that only reads prints."""
    command = ["git", "--git-dir", str(repo), "-c", "core.hooksPath=/dev/null", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout


async def scanned(scanner: SourceScanner, files: list[SourceFile]) -> list[tuple[ScanHit, ...]]:
    """Return the hits of each file."""
    report = await scanner.scan(files)
    if isinstance(report, ScanFailed):
        raise SystemExit(report.reason)
    return list(report.hits)


async def planted(scanner: SourceScanner) -> None:
    """Print how many planted weaknesses are found, by language, and which are not."""
    print("| language | planted | found | as an error | missed |\n| --- | --- | --- | --- | --- |")
    for ending, cases in yaml.safe_load(PLANTED.read_text(encoding="utf-8")).items():
        hits = await scanned(scanner, [SourceFile(f"app.{ending}", case["code"].encode()) for case in cases])
        grave = sum(any(severity_of(hit, "error") is Severity.MUST_FIX for hit in found) for found in hits)
        missed = [case["name"] for case, found in zip(cases, hits, strict=True) if not found]
        print(f"| {ending} | {len(cases)} | {len(cases) - len(missed)} | {grave} | {', '.join(missed) or 'none'} |")


def sides(repo: Path, commits: int, scanner: SourceScanner) -> tuple[list[SourceFile], list[SourceFile], int]:
    """Return the files that the last commits changed, as they were and as they are, and how many lines were added."""
    tip = git(repo, "rev-parse", "HEAD").decode().strip()
    base = git(repo, "rev-parse", f"{tip}~{commits}").decode().strip()
    raw = git(repo, "diff", "--raw", "-z", "--no-renames", "--abbrev=40", base, tip).split(b"\0")
    old: list[SourceFile] = []
    new: list[SourceFile] = []
    for head, name in zip(raw[0::2], raw[1::2], strict=False):
        old_mode, new_mode, old_blob, new_blob, _ = head.decode().removeprefix(":").split()
        path = name.decode("utf-8", "replace")
        for mode, blob, side in ((old_mode, old_blob, old), (new_mode, new_blob, new)):
            if mode.startswith("100") and scanner.reads(path, b""):
                data = git(repo, "cat-file", "blob", blob)
                side.extend([SourceFile(path, data)] if len(data) <= _FILE_BYTES else [])
    added = git(repo, "diff", "--numstat", "--no-renames", base, tip).decode("utf-8", "replace").splitlines()
    known = {file.path for file in new}
    lines = sum(int(line.split("\t")[0]) for line in added if line.split("\t")[2] in known and line[0].isdigit())
    return old, new, lines


async def alarms(scanner: SourceScanner, repos: dict[str, Path], commits: int) -> None:
    """Print the new hits of each repository's last commits."""
    print(f"\n| repository | files changed in {commits} commits | lines added | must fix | should fix | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    listed: list[str] = []
    total: Counter[str] = Counter()
    for name, repo in repos.items():
        try:
            old, new, lines = sides(repo, commits, scanner)
        except subprocess.CalledProcessError as error:
            print(f"| {name} | git {error.cmd[5]} failed | | | | |")
            continue
        begun = time.perf_counter()
        hits = await scanned(scanner, [*old, *new]) if old or new else []
        found = new_hits(
            [hit for part in hits[: len(old)] for hit in part], [hit for part in hits[len(old) :] for hit in part]
        )
        count = Counter(severity_of(hit, "error").value for hit in found)
        total += count + Counter({"lines": lines, "files": len(new)})
        spent = time.perf_counter() - begun
        print(f"| {name} | {len(new)} | {lines} | {count['must_fix']} | {count['should_fix']} | {spent:.1f} |")
        listed += [
            f"- {severity_of(hit, 'error').value} {name} {clean_line(hit.path)}:{hit.line} {hit.rule}: {clean_line(hit.text)}"
            for hit in found
        ]
    print(
        f"| all {len(repos)} | {total['files']} | {total['lines']} | {total['must_fix']} | {total['should_fix']} | |\n"
    )
    print("\n".join(listed))


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mirrors", type=Path)
    parser.add_argument("--commits", type=int, default=50)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    programs = find_programs()
    if programs is None:
        raise SystemExit("pip install 'codexteam[scan]' first")
    repos = {
        path.name: path / "repo" if (path / "repo").is_dir() else path
        for path in sorted(options.mirrors.iterdir())
        if path.is_dir() and (not options.only or path.name in options.only)
    }
    with tempfile.TemporaryDirectory() as folder:
        scanner = SourceScanner(programs, Path(folder))
        print(", ".join(programs.names))
        await planted(scanner)
        await alarms(scanner, repos, options.commits)


if __name__ == "__main__":
    asyncio.run(main())
