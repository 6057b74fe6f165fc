"""What the scripted implementers write: each task's files, and the patches that put them in place."""

READ_CSV = '''"""Reads amounts from CSV files."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from tally.money import parse_amount


@dataclass(frozen=True)
class Entry:
    """One row."""

    category: str
    cents: int


def read_csv(path: str) -> Iterator[Entry]:
    """Give the rows of a file with the columns `category` and `amount`; a bad row is named by its line."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for row in rows:
            try:
                yield Entry(row["category"], parse_amount(row["amount"]))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}:{rows.line_num}: bad row {row!r}") from error
'''

TEST_READ_CSV = """import tempfile
import unittest
from pathlib import Path

from tally.read_csv import Entry, read_csv


class ReadCsvTest(unittest.TestCase):
    def write(self, text: str) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "in.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_rows_become_entries(self) -> None:
        path = self.write("category,amount\\nfood,12.50\\nrent,700\\n")
        self.assertEqual([Entry("food", 1250), Entry("rent", 70000)], list(read_csv(path)))

    def test_a_bad_row_is_named_by_its_line(self) -> None:
        path = self.write("category,amount\\nfood,12.50\\nrent,much\\n")
        with self.assertRaisesRegex(ValueError, "in.csv:3: bad row"):
            list(read_csv(path))


if __name__ == "__main__":
    unittest.main()
"""

SUMMARY_WRONG = '''"""Sums by category."""

from collections.abc import Iterable

from tally.read_csv import Entry


def summarise(entries: Iterable[Entry]) -> dict[str, int]:
    """Give the cents of each category, in the order in which they first come."""
    return {entry.category: entry.cents for entry in entries}
'''

SUMMARY = '''"""Sums by category."""

from collections.abc import Iterable
from typing import Protocol


class HasCategoryAndCents(Protocol):
    """What is summed."""

    @property
    def category(self) -> str: ...
    @property
    def cents(self) -> int: ...


def summarise(entries: Iterable[HasCategoryAndCents]) -> dict[str, int]:
    """Give the cents of each category, in the order in which they first come."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.category] = sums.get(entry.category, 0) + entry.cents
    return sums
'''

TEST_SUMMARY = """import unittest
from types import SimpleNamespace

from tally.summary import summarise


class SummaryTest(unittest.TestCase):
    def test_categories_are_added_up_in_their_first_order(self) -> None:
        entries = [SimpleNamespace(category=name, cents=cents) for name, cents in (("b", 1), ("a", 2), ("b", 3))]
        self.assertEqual([("b", 4), ("a", 2)], list(summarise(entries).items()))

    def test_nothing_sums_to_nothing(self) -> None:
        self.assertEqual({}, summarise([]))


if __name__ == "__main__":
    unittest.main()
"""

MARKDOWN = '''"""Writes sums as a Markdown table."""

from collections.abc import Mapping

from tally.money import format_amount


def table(sums: Mapping[str, int]) -> str:
    """Give a table with a row for each category and one for the total."""
    lines = ["| category | amount |", "| --- | ---: |"]
    lines += [f"| {category} | {format_amount(cents)} |" for category, cents in sums.items()]
    lines.append(f"| **total** | **{format_amount(sum(sums.values()))}** |")
    return "\\n".join(lines) + "\\n"
'''

TEST_MARKDOWN = """import unittest

from tally.markdown import table


class MarkdownTest(unittest.TestCase):
    def test_each_category_and_the_total_have_a_row(self) -> None:
        text = table({"food": 1250, "rent": 70000})
        self.assertIn("| food | 12.50 |\\n", text)
        self.assertTrue(text.endswith("| **total** | **712.50** |\\n"))


if __name__ == "__main__":
    unittest.main()
"""

MAIN_PATCH = """*** Begin Patch
*** Update File: tally/__main__.py
@@
+from tally.markdown import table
 from tally.money import format_amount, parse_amount
+from tally.read_csv import read_csv
+from tally.summary import summarise
@@
 def main(arguments: list[str]) -> int:
-    \"\"\"Print the total of a file with one amount a line.\"\"\"
+    \"\"\"Print the total of a file with one amount a line, or `report` a CSV file as a Markdown table.\"\"\"
+    if len(arguments) == 2 and arguments[0] == "report":
+        print(table(summarise(read_csv(arguments[1]))), end="")
+        return 0
     if len(arguments) != 1:
-        print("usage: python3 -m tally FILE", file=sys.stderr)
+        print("usage: python3 -m tally FILE | python3 -m tally report CSV", file=sys.stderr)
         return 2
*** End Patch
"""

TEST_REPORT = """import contextlib
import io
import tempfile
import unittest
from pathlib import Path

from tally.__main__ import main


class ReportTest(unittest.TestCase):
    def test_a_csv_file_is_reported(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in.csv"
            path.write_text("category,amount\\nfood,1\\nfood,2.50\\n", encoding="utf-8")
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = main(["report", str(path)])
        self.assertEqual(0, code)
        self.assertIn("| food | 3.50 |", out.getvalue())


if __name__ == "__main__":
    unittest.main()
"""

ESCAPE_PATCH = """*** Begin Patch
*** Update File: tally/markdown.py
@@ def table(sums: Mapping[str, int]) -> str:
-    lines += [f"| {category} | {format_amount(cents)} |" for category, cents in sums.items()]
+    lines += [f"| {_cell(category)} | {format_amount(cents)} |" for category, cents in sums.items()]
@@
     return "\\n".join(lines) + "\\n"
+
+
+def _cell(text: str) -> str:
+    return " ".join(text.replace("|", "\\\\|").split())
*** Update File: tests/test_markdown.py
@@
         self.assertTrue(text.endswith("| **total** | **712.50** |\\n"))
+
+    def test_a_bar_in_a_category_stays_in_its_cell(self) -> None:
+        self.assertIn("| a\\\\|b | 0.01 |\\n", table({"a|b": 1}))
*** End Patch
"""

README_PATCH = """*** Begin Patch
*** Update File: README.md
@@
 Adds up amounts. `python3 -m tally FILE` prints the total of a file with one amount a line.
+
+`python3 -m tally report CSV` prints a Markdown table with the sum of each category of a CSV file with the columns
+`category` and `amount`.
*** End Patch
"""


def add(**files: str) -> str:
    """Give a patch that adds files; names have `__` for a slash and end without `.py`."""
    lines = ["*** Begin Patch"]
    for name, text in files.items():
        lines.append(f"*** Add File: {name.replace('__', '/')}.py")
        lines += [f"+{line}" for line in text.splitlines()]
    return "\n".join([*lines, "*** End Patch", ""])
