"""ruff and ast-grep over files of many languages."""

import asyncio
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from codexteam.adapters.scan.programs import ScanPrograms, run_scanner
from codexteam.adapters.scan.rule_files import RUFF_RULES, SEEMS_SAFE, rule_reported, rules_text
from codexteam.core.scan_hits import SECRETS, ScanHit, read_sarif, with_text
from codexteam.ports.scanner import ScanFailed, ScanReport, SourceFile

#: Ending of a file's name to that of the file that is scanned, which decides its language.
_ENDINGS: Final = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "py"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "js"),
    **dict.fromkeys((".ts", ".mts", ".cts"), "ts"),
    ".tsx": "tsx",
    ".go": "go",
    ".java": "java",
    **dict.fromkeys((".rb", ".rake", ".gemspec", ".ru"), "rb"),
    **dict.fromkeys((".php", ".phtml", ".php5", ".inc"), "php"),
}
_NAMES: Final = {"Rakefile": "rb", "Gemfile": "rb", "Vagrantfile": "rb"}
_INTERPRETERS: Final = {"python": "py", "node": "js", "ruby": "rb", "php": "php"}
_FIRST_LINE = re.compile(rb"#![^\n]*?\b(python|node|ruby|php)")
_LANGUAGES: Final = {
    "py": "Python",
    "js": "JavaScript",
    "ts": "TypeScript",
    "tsx": "Tsx",
    "go": "Go",
    "java": "Java",
    "rb": "Ruby",
    "php": "Php",
}
#: Comments that switch rules off: who writes the code does not decide what is found in it. As long as before, so that
#: places stay where they are.
_SWITCHES = re.compile(rb"ast-grep-ignore|ruff:(?=\s*(?:noqa|ignore|disable))|flake8:(?=\s*noqa)", re.IGNORECASE)


class SourceScanner:
    """The scanner that `codexteam[scan]` brings."""

    def __init__(self, programs: ScanPrograms, folder: Path) -> None:
        """Take the programs that look, and a folder of the run's for the files that they look at."""
        self._programs = programs
        self._folder = folder

    def reads(self, path: str, head: bytes) -> bool:
        """Return whether it knows the language of a file."""
        return _ending(path, head) is not None

    async def scan(self, files: Sequence[SourceFile]) -> ScanReport | ScanFailed:
        """Scan files, each under a name of ours."""
        named = {
            f"{number:06}.{ending}": number
            for number, file in enumerate(files)
            if (ending := _ending(file.path, file.data)) is not None
        }
        endings = sorted({name.partition(".")[2] for name in named})
        hits: list[list[ScanHit]] = [[] for _ in files]
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder) as kept:
            folder = Path(kept, "files")
            await asyncio.to_thread(_write, folder, {name: files[number].data for name, number in named.items()})
            if endings:
                found = await self._own(endings, folder)
                if isinstance(found, ScanFailed):
                    return found
                _sort_in(found, named, files, hits)
            if "py" in endings:
                found = await self._ruff(folder)
                if isinstance(found, ScanFailed):
                    return found
                _sort_in(found, named, files, hits)
        return ScanReport(tuple(map(tuple, hits)), self._programs.names)

    async def _own(self, endings: Iterable[str], folder: Path) -> tuple[ScanHit, ...] | ScanFailed:
        rules = folder / "rules.yaml"
        rules.write_text(rules_text(_LANGUAGES[ending] for ending in endings), encoding="utf-8")
        arguments = ("scan", "--rule", rules.name, "--format", "sarif", "--no-ignore", "hidden", "--threads", "2", ".")
        said = await run_scanner(self._programs.ast_grep, arguments, folder)
        rules.unlink()
        found = _read(said, "ast-grep")
        return found if isinstance(found, ScanFailed) else tuple(map(_own_hit, found))

    async def _ruff(self, folder: Path) -> tuple[ScanHit, ...] | ScanFailed:
        arguments = (
            *("check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--no-respect-gitignore"),
            *("--select", ",".join(RUFF_RULES), "--output-format", "sarif", "."),
        )
        found = _read(await run_scanner(self._programs.ruff, arguments, folder), "ruff")
        if isinstance(found, ScanFailed):
            return found
        counted = (hit for hit in found if hit.rule in RUFF_RULES and SEEMS_SAFE not in hit.message)
        return tuple(replace(hit, weakness=RUFF_RULES[hit.rule][0], level=RUFF_RULES[hit.rule][1]) for hit in counted)


def _ending(path: str, head: bytes) -> str | None:
    pure = PurePosixPath(path)
    known = _ENDINGS.get(pure.suffix.casefold()) or _NAMES.get(pure.name)
    if known is not None or pure.suffix:
        return known
    first = _FIRST_LINE.match(head[:200])
    return _INTERPRETERS[first.group(1).decode()] if first else None


def _write(folder: Path, named: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, data in named.items():
        (folder / name).write_bytes(_readable(data))


def _readable(data: bytes) -> bytes:
    """Return a file without what would keep it from being scanned whole: switches, and bytes that are no text."""
    text = data.decode("utf-8", errors="replace").replace("\0", " ")
    return _SWITCHES.sub(lambda match: b"-" * len(match.group()), text.encode())


def _read(said: str | ScanFailed, scanner: str) -> tuple[ScanHit, ...] | ScanFailed:
    if isinstance(said, ScanFailed):
        return said
    try:
        return read_sarif(said, scanner)
    except ValueError as error:
        return ScanFailed(f"{scanner}: {error}")


def _own_hit(hit: ScanHit) -> ScanHit:
    rule = rule_reported(hit.rule)
    return replace(hit, rule=rule.id, weakness=rule.weakness)


def _sort_in(
    found: Iterable[ScanHit], named: dict[str, int], files: Sequence[SourceFile], hits: Sequence[list[ScanHit]]
) -> None:
    """Put each hit to the file that it is of, with that file's path and the text of its place."""
    lines: dict[int, list[str]] = {}
    for hit in found:
        number = named.get(PurePosixPath(hit.path).name)
        if number is None:
            continue
        text = lines.setdefault(number, files[number].data.decode("utf-8", errors="replace").split("\n"))
        hits[number].append(with_text(replace(hit, path=files[number].path), text, secret=hit.weakness in SECRETS))
