"""ruff and ast-grep over samples of each rule, and over files that mean them harm."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from codexteam.adapters.scan.programs import find_programs, run_scanner
from codexteam.adapters.scan.rule_files import own_rules
from codexteam.adapters.scan.source_scanner import SourceScanner
from codexteam.core.scan_hits import ADVICE, HitLevel
from codexteam.ports.scanner import ScanFailed, ScanReport, SourceFile

SAMPLES = Path(__file__).parents[3] / "data" / "scan"
ENDINGS = {
    "Python": ("py",),
    "JavaScript": ("js", "ts", "tsx"),
    "Go": ("go",),
    "Java": ("java",),
    "Ruby": ("rb",),
    "Php": ("php",),
}


@pytest.fixture
def scanner(tmp_path: Path) -> SourceScanner:
    programs = find_programs()
    assert programs is not None, "pip install -e '.[dev]' installs the scanners"
    return SourceScanner(programs, tmp_path / "scan")


async def hits_of(scanner: SourceScanner, **files: str) -> dict[str, list[str]]:
    """Scan files, named as `a_py`; return the rules that hit each."""
    given = [SourceFile(name.replace("_", "."), text.encode()) for name, text in files.items()]
    report = await scanner.scan(given)
    assert isinstance(report, ScanReport), report
    return {name: [hit.rule for hit in hits] for name, hits in zip(files, report.hits, strict=True)}


def samples() -> Iterator[tuple[str, bool, SourceFile]]:
    for language, endings in ENDINGS.items():
        kept = yaml.safe_load((SAMPLES / f"{language.lower()}.yml").read_text(encoding="utf-8"))
        for rule, codes in kept.items():
            for found, code in [(True, code) for code in codes["found"]] + [(False, code) for code in codes["passed"]]:
                for ending in endings:
                    yield rule, found, SourceFile(f"sample.{ending}", f"{code}\n".encode())


async def test_each_rule_finds_its_samples_and_passes_the_others(scanner: SourceScanner) -> None:
    cases = list(samples())
    report = await scanner.scan([file for _, _, file in cases])
    assert isinstance(report, ScanReport), report
    wrong = [
        (rule, "not found" if found else "found", file.path, file.data.decode())
        for (rule, found, file), hits in zip(cases, report.hits, strict=True)
        if found is not any(hit.rule == rule for hit in hits)
    ]
    assert wrong == []
    assert all(hit.text for hits in report.hits for hit in hits)


def test_each_rule_has_samples_of_both_kinds_and_advice() -> None:
    rules = {rule.id: rule for language in ENDINGS for rule in own_rules(language)}
    kept = [yaml.safe_load((SAMPLES / f"{language.lower()}.yml").read_text(encoding="utf-8")) for language in ENDINGS]
    assert {name for one in kept for name, codes in one.items() if codes["found"] and codes["passed"]} == set(rules)
    assert {rule.weakness for rule in rules.values()} - set(ADVICE) == set()


async def test_ruff_finds_what_our_rules_do_not(scanner: SourceScanner) -> None:
    text = 'import pickle, requests, subprocess as s\npickle.loads(x)\nrequests.get(u, verify=False)\ns.run("ls", shell=True)\n'
    report = await scanner.scan([SourceFile("a.py", text.encode())])
    assert isinstance(report, ScanReport)
    assert [(hit.rule, hit.line, hit.level) for hit in report.hits[0]] == [
        ("S301", 2, HitLevel.WARNING),
        ("S501", 3, HitLevel.ERROR),
    ]


async def test_comments_do_not_switch_rules_off(scanner: SourceScanner) -> None:
    found = await hits_of(
        scanner,
        a_py='# ruff: noqa\n# flake8: noqa\nimport pickle\neval(f"{x}")  # noqa: S307\npickle.loads(x)  # ruff: ignore[S301]\n',
        b_js="// ast-grep-ignore\nexec(`ls ${x}`);\n",
    )
    assert found["a_py"] == ["py-eval", "S307", "S301"]
    assert found["b_js"] == ["js-shell-injection"]


async def test_a_program_without_an_ending_is_known_by_its_first_line(scanner: SourceScanner) -> None:
    report = await scanner.scan([SourceFile("bin/tool", b"#!/usr/bin/env python3\nimport os\nos.system(f'{x}')\n")])
    assert isinstance(report, ScanReport)
    assert "py-shell-injection" in [hit.rule for hit in report.hits[0]]
    assert not scanner.reads("bin/tool", b"#!/bin/sh\n")
    assert not scanner.reads("a.md", b"#!/usr/bin/python\n")


async def test_files_cannot_configure_the_scanners(scanner: SourceScanner) -> None:
    evil = "id: py-eval\nlanguage: Python\nseverity: off\nrule: {kind: call}\n"
    report = await scanner.scan(
        [
            SourceFile("ruff.toml", b"[lint]\nignore = ['ALL']\n"),
            SourceFile("sgconfig.yml", evil.encode()),
            SourceFile("../../../etc/x/pyproject.toml", b"[tool.ruff]\nexclude = ['*']\n"),
            SourceFile("a.py", b"eval(f'{x}')\n"),
            SourceFile(".gitignore", b"*\n"),
        ]
    )
    assert isinstance(report, ScanReport)
    assert [hit.rule for hit in report.hits[3]] == ["py-eval", "S307"]


@pytest.mark.parametrize(
    "around",
    [
        b"# \xff",
        b"# \0",
        b"# \xe2\x80\xae",
        b"(" * 20_000,
        b"\n" * 400_000,
        b"x = '" + b"y" * 900_000 + b"'",
        b"def f(:",
    ],
)
async def test_no_bytes_hide_what_is_beside_them(scanner: SourceScanner, around: bytes) -> None:
    report = await scanner.scan([SourceFile("a.py", around + b"\n\neval(f'{x}')\n")])
    assert isinstance(report, ScanReport), report
    assert "py-eval" in [hit.rule for hit in report.hits[0]]


async def test_a_scanner_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    ended = await run_scanner(Path("/usr/bin/yes"), ("x" * 100,), folder)
    assert isinstance(ended, ScanFailed)
    assert "was ended by signal SIGXFSZ" in ended.reason


@pytest.mark.bubblewrap
async def test_a_scanner_sees_no_home_no_network_and_no_environment(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("mine\n")
    said = await run_scanner(
        Path("/bin/sh"), ("-c", "cat a.txt; ls /home /root; env; ls /sys/class/net; echo x > a.txt"), folder
    )
    assert isinstance(said, str)
    assert said.splitlines()[0] == "mine"
    assert str(tmp_path) not in said
    assert "HOME" not in said
    assert (folder / "a.txt").read_text() == "mine\n"
