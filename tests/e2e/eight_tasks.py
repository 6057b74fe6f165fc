"""A scripted team over the sample repository: eight tasks, and each way in which work goes wrong once.

T1 leaves a link to a file of the machine, T2 says that it is done and is not, T3 has a flaw that the reviewer finds, T4 and T5
write the same file without having said so, T6 puts a credential into a file. T7 joins the modules, T8 describes them, T9 is
the re-plan's fix of the reviewer's finding. Whatever order things happen in, the last tree is `expected_files`.
"""

import shlex
from pathlib import Path

from codexteam.core.ids import JSONObject
from tests.demo import edits, script
from tests.demo.script import patch, report, run, task
from tests.scripted_api.script import Call, Played, message

SAMPLE = Path(__file__).parents[2] / "codexteam" / "app" / "demo" / "sample"
GOAL = "Let tally read CSV files and report sums by category as Markdown, JSON or CSV."

#: Looks like a credential, in pieces so that this file holds none.
SECRET = "AKIA" + "J3QZ5T7XW2" + "KDMN4P"

AS_JSON = '''"""Writes sums as JSON."""

import json
from collections.abc import Mapping

from tally.money import format_amount


def dump(sums: Mapping[str, int]) -> str:
    """Give an object of category and amount."""
    return json.dumps({category: format_amount(cents) for category, cents in sums.items()}) + "\\n"
'''
TEST_AS_JSON = """import unittest

from tally.as_json import dump


class AsJsonTest(unittest.TestCase):
    def test_amounts_are_texts(self) -> None:
        self.assertEqual('{"food": "12.50"}\\n', dump({"food": 1250}))
"""
AS_CSV = '''"""Writes sums as CSV."""

from collections.abc import Mapping

from tally.money import format_amount


def lines(sums: Mapping[str, int]) -> str:
    """Give a row for each category."""
    return "".join(f"{category},{format_amount(cents)}\\n" for category, cents in sums.items())
'''
TEST_AS_CSV = """import unittest

from tally.as_csv import lines


class AsCsvTest(unittest.TestCase):
    def test_each_category_has_a_row(self) -> None:
        self.assertEqual("food,12.50\\n", lines({"food": 1250}))
"""
FORMATS_HEAD = '"""The formats of a report, and the modules that write them."""\n\nFORMATS = {\n'
FORMATS_JSON = FORMATS_HEAD + '    "json": "tally.as_json",\n}\n'
FORMATS_CSV = FORMATS_HEAD + '    "csv": "tally.as_csv",\n}\n'
FORMATS_BOTH = FORMATS_HEAD + '    "csv": "tally.as_csv",\n    "json": "tally.as_json",\n}\n'
SETTINGS = '''"""Where reports are sent."""

from collections.abc import Mapping


def access_id(environment: Mapping[str, str]) -> str:
    """Give the id that the user set; there is no default."""
    return environment["TALLY_ACCESS_ID"]
'''
SETTINGS_LEAKED = SETTINGS.replace('environment["TALLY_ACCESS_ID"]', f'environment.get("TALLY_ACCESS_ID", "{SECRET}")')
TEST_SETTINGS = """import unittest

from tally.settings import access_id


class SettingsTest(unittest.TestCase):
    def test_the_id_is_the_user_s(self) -> None:
        self.assertEqual("mine", access_id({"TALLY_ACCESS_ID": "mine"}))
"""
USAGE = "# Using tally\n\n`python3 -m tally report CSV` prints a Markdown table.\n"


def _with_patch(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def expected_files() -> dict[str, str]:
    """What the branch must hold at the end, by path."""
    files = {
        path.relative_to(SAMPLE).as_posix(): path.read_text(encoding="utf-8")
        for path in SAMPLE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    markdown = _with_patch(edits.MARKDOWN, ("| {category} |", "| {_cell(category)} |"))
    markdown += '\n\ndef _cell(text: str) -> str:\n    return " ".join(text.replace("|", "\\\\|").split())\n'
    total = '        self.assertTrue(text.endswith("| **total** | **712.50** |\\n"))\n'
    bars = (
        "\n    def test_a_bar_in_a_category_stays_in_its_cell(self) -> None:\n"
        '        self.assertIn("| a\\\\|b | 0.01 |\\n", table({"a|b": 1}))\n'
    )
    main = _with_patch(
        files["tally/__main__.py"],
        ("from tally.money import", "from tally.markdown import table\nfrom tally.money import"),
        (
            "parse_amount\n\n\n",
            "parse_amount\nfrom tally.read_csv import read_csv\nfrom tally.summary import summarise\n\n\n",
        ),
        (
            '    """Print the total of a file with one amount a line."""\n',
            '    """Print the total of a file with one amount a line, or `report` a CSV file as a Markdown table."""\n'
            '    if len(arguments) == 2 and arguments[0] == "report":\n'
            '        print(table(summarise(read_csv(arguments[1]))), end="")\n        return 0\n',
        ),
        ("tally FILE", "tally FILE | python3 -m tally report CSV"),
    )
    readme = files["README.md"] + (
        "\n`python3 -m tally report CSV` prints a Markdown table with the sum of each category of a CSV file with the "
        "columns\n`category` and `amount`.\n"
    )
    return {
        **files,
        "README.md": readme,
        "docs/usage.md": USAGE,
        "tally/__main__.py": main,
        "tally/as_csv.py": AS_CSV,
        "tally/as_json.py": AS_JSON,
        "tally/formats.py": FORMATS_BOTH,
        "tally/markdown.py": markdown,
        "tally/read_csv.py": edits.READ_CSV,
        "tally/settings.py": SETTINGS,
        "tally/summary.py": edits.SUMMARY,
        "tests/test_as_csv.py": TEST_AS_CSV,
        "tests/test_as_json.py": TEST_AS_JSON,
        "tests/test_markdown.py": _with_patch(edits.TEST_MARKDOWN, (total, total + bars)),
        "tests/test_read_csv.py": edits.TEST_READ_CSV,
        "tests/test_report.py": edits.TEST_REPORT,
        "tests/test_settings.py": TEST_SETTINGS,
        "tests/test_summary.py": edits.TEST_SUMMARY,
    }


def _module(name: str, title: str, module: str, **more: object) -> JSONObject:
    paths = more.pop("paths", [f"tally/{module}.py", f"tests/test_{module}.py"])
    return task(name, title, paths=paths, check=f"tests.test_{module}", **more)  # type: ignore[arg-type]  # passed on


def plan() -> JSONObject:
    """The orchestrator's plan."""
    guide = task("T8", "Describe the formats", paths=["docs/"], check="tests.test_money", deps=["T6", "T7"])
    guide["acceptance"] = [{"criterion": "there is a guide", "command": "test -s docs/usage.md"}]
    tasks = [
        _module("T1", "Read CSV files", "read_csv", effort=2),
        _module("T2", "Sum by category", "summary"),
        _module("T3", "Write a Markdown table", "markdown"),
        # both write a file that neither names: the clash shows at the merge
        _module("T4", "Write JSON", "as_json"),
        _module("T5", "Write CSV", "as_csv"),
        _module("T6", "Read the access id from the environment", "settings", deps=["T2"]),
        task(
            "T7",
            "Add the report command",
            paths=["tally/__main__.py", "tests/test_report.py"],
            check="tests.test_report",
            deps=["T1", "T2", "T3", "T4", "T5"],
        ),
        guide,
    ]
    return {"summary": "Modules, then the command.", "tasks": [*tasks], "later": [], "risks": [], "questions": []}


def fix_plan() -> JSONObject:
    """The orchestrator's re-plan for the reviewer's finding."""
    fix = _module("T9", "Keep bars inside their cell", "markdown", fixes=["F1"])
    return {"summary": "One fix.", "tasks": [fix], "later": [], "risks": [], "questions": []}


def _write(files: dict[str, str]) -> JSONObject:
    return run(_line(files))


def _line(files: dict[str, str]) -> str:
    lines = [f"mkdir -p {Path(path).parent} && printf %s {shlex.quote(text)} > {path}" for path, text in files.items()]
    return " && ".join(lines)


_READ = {"tally/read_csv.py": edits.READ_CSV, "tests/test_read_csv.py": edits.TEST_READ_CSV}
_SUMMARY = {"tally/summary.py": edits.SUMMARY, "tests/test_summary.py": edits.TEST_SUMMARY}
_JSON = {"tally/as_json.py": AS_JSON, "tests/test_as_json.py": TEST_AS_JSON}
_CSV = {"tally/as_csv.py": AS_CSV, "tests/test_as_csv.py": TEST_AS_CSV}
_TEST_SETTINGS = {"tests/test_settings.py": TEST_SETTINGS}
_WRONG_SUMMARY = "def summarise(entries):\n    return {entry.category: entry.cents for entry in entries}\n"

#: What each attempt writes, in its first turn.
_WORK: dict[tuple[str, str, int], dict[str, str]] = {
    ("implement", "T2", 1): {**_SUMMARY, "tally/summary.py": _WRONG_SUMMARY},
    ("implement", "T2", 2): _SUMMARY,
    ("implement", "T4", 1): {**_JSON, "tally/formats.py": FORMATS_JSON},
    ("implement", "T5", 1): {**_CSV, "tally/formats.py": FORMATS_CSV},
    ("resolve", "T4", 2): {**_JSON, "tally/formats.py": FORMATS_BOTH},
    ("resolve", "T5", 2): {**_CSV, "tally/formats.py": FORMATS_BOTH},
    ("implement", "T6", 1): {**_TEST_SETTINGS, "tally/settings.py": SETTINGS_LEAKED},
    ("implement", "T6", 2): {**_TEST_SETTINGS, "tally/settings.py": SETTINGS},
    ("implement", "T8", 1): {"docs/usage.md": USAGE},
}
_PATCHES: dict[str, str] = {
    "T3": edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN),
    "T7": edits.MAIN_PATCH,
    "T9": edits.ESCAPE_PATCH,
}


def play(call: Call) -> Played:
    """Answer one call."""
    match call.purpose:
        case "plan":
            return [message(plan())]
        case "replan":
            return [message(fix_plan())]
        case "implement" | "resolve":
            return _work(call)
        case _:
            return script.play(call)


def _work(call: Call) -> Played:
    if call.turn == 1:
        if call.task_id == "T1":
            return [run(f"{_line(_READ)} && {'ln -s /etc/passwd' if call.attempt == 1 else 'rm'} tally/accounts")]
        if call.task_id in _PATCHES:
            return [patch(call, _PATCHES[call.task_id])]
        return [_write(_WORK[call.purpose, call.task_id, call.attempt])]
    if call.turn == 2 and call.task_id == "T7":
        return [patch(call, edits.add(tests__test_report=edits.TEST_REPORT))]
    if call.turn == 2 and call.task_id in {"T4", "T5"} and call.attempt == 1:
        return [run("python3 -m unittest discover -q -s tests -t .")]
    return [report(f"{call.task_id} is done; all tests pass.")]
