"""`codexteam index`, with the installed command's own code: what it prints of a repository, and refuses."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli


@pytest.fixture
def repository(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "shop"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "invoice.py").write_text("def total(invoice):\n    return tax(invoice)\n")
    (folder / "shop" / "tax.py").write_text("def tax(invoice):\n    return open(invoice, 'r')\n")
    who = ("-c", "user.name=w", "-c", "user.email=w@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def test_the_index_is_made_searched_and_drawn_as_a_map(cli: Cli, repository: Path) -> None:
    made = cli("index")
    assert made.code == 0
    assert made.out.startswith("2 files at ")
    assert "2 definitions in 2 contents" in made.out

    assert cli("index", "the tax of an invoice").out == (
        "shop/tax.py\n  1-2 def tax(invoice)\nshop/invoice.py\n  1-2 def total(invoice)\n"
    )
    assert cli("index", "--symbol", "tax").out == (
        "shop/tax.py:1-2 def tax(invoice)\nshop/invoice.py:1-2 def total(invoice)  (use)\n"
    )
    assert cli("index", "--pattern", "open($A, 'r')").out == "shop/tax.py:2-2 open(invoice, 'r')\n"
    assert cli("index", "--text", "nowhere").err == "nothing in the code fits\n"
    (line,) = cli("index", "--symbol", "total", "--json").out.splitlines()
    assert json.loads(line)["found"] == [
        {
            "path": "shop/invoice.py",
            "first_line": 1,
            "last_line": 2,
            "name": "total",
            "kind": "function_definition",
            "text": "def total(invoice)",
        }
    ]
    assert subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True).stdout == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("goal", "--symbol", "total"), "GOAL and --symbol ask for different things"),
        (("--commit", "nowhere"), "'nowhere' names no commit"),
        (("-c", "codexteam.map.enabled=false"), "the index of the code is switched off"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    cli: Cli, repository: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = cli("index", *arguments)

    assert refused.code == 2
    assert words in refused.err
