"""Exercises in Exercism's layout, and a model that resolves a known share of them: by its name, `rate-75-of-100`."""

import hashlib
import json
import re
from pathlib import Path

from tests.demo import script
from tests.demo.script import patch, report
from tests.scripted_api.script import Call, Played, message

#: One agent's work is the same whoever gave it: only the implementer's calls tell the arms apart.
TEAM = (
    '[codexteam.steps]\nscouts = "off"\nanalyst = "off"\nrelease = "off"\ndocumentation = "off"\n'
    '[codexteam.sandbox]\nkind = "bubblewrap"\nbuild_environment = false\n'
    '[codexteam.gates]\nenabled = []\nallow_unchecked = true\nuntested = "allow"\n'
)
_NAMED = re.compile(r"Return the number (\d+)\.")


def make_exercises(folder: Path, count: int) -> Path:
    """Write exercises: each wants a function that returns its number."""
    for number in range(1, count + 1):
        place = folder / f"number-{number:02}"
        files = {
            ".docs/instructions.md": f"# Instructions\n\nReturn the number {number}.\n",
            ".meta/config.json": json.dumps(
                {"files": {"solution": ["number.py"], "test": ["number_test.py"], "example": [".meta/example.py"]}}
            ),
            ".meta/example.py": f"def number():\n    return {number}\n",
            "number.py": "def number():\n    pass\n",
            "number_test.py": (
                "import unittest\n\nfrom number import number\n\n\nclass NumberTest(unittest.TestCase):\n"
                f"    def test_number(self):\n        self.assertEqual(number(), {number})\n"
            ),
        }
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")
    return folder


def resolves(model: str, number: int, run_id: str) -> bool:
    """Whether a model of a known rate resolves an exercise in a run: drawn by all three names."""
    rate = int(re.findall(r"\d+", model)[0]) / 100
    digest = hashlib.sha256(f"{model}/{number}/{run_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < rate


def play(call: Call) -> Played:
    """Answer one call."""
    if call.purpose == "plan":
        task = script.task("T1", "Write the number", paths=["number.py"], check="number")
        task["acceptance"] = []
        return [message({"summary": "One.", "tasks": [task], "later": [], "risks": [], "questions": []})]
    if call.purpose != "implement":
        return script.play(call)
    if call.turn > 1:
        return [report("The number is returned.")]
    found = _NAMED.search(json.dumps(call.body))
    number = int(found[1]) if found else 0
    value = number if resolves(str(call.body["model"]), number, call.run_id) else -1
    change = (
        "*** Begin Patch\n*** Update File: number.py\n@@\n def number():\n-    pass\n+    return {}\n*** End Patch\n"
    )
    return [patch(call, change.format(value))]
