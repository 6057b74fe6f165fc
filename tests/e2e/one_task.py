"""A scripted team with one task: for tests of the command around a run."""

from codexteam.core.ids import JSONObject
from tests.demo import edits, script
from tests.demo.script import patch, report, task
from tests.e2e.eight_tasks import SAMPLE, expected_files
from tests.scripted_api.script import Call, Played, message

#: So specific that nobody has to read it first.
GOAL = "Add tally/markdown.py, which writes sums as a Markdown table, with tests in tests/test_markdown.py."
#: One gate, no Docker.
TEAM = (
    '[codexteam.steps]\ndocumentation = "always"\n'
    '[codexteam.sandbox]\nkind = "bubblewrap"\n[codexteam.gates]\nenabled = ["ci_runner"]\n'
)


def plan() -> JSONObject:
    """The orchestrator's plan."""
    only = task(
        "T1",
        "Write a Markdown table",
        paths=["tally/markdown.py", "tests/test_markdown.py"],
        check="tests.test_markdown",
    )
    return {"summary": "One module.", "tasks": [only], "later": [], "risks": [], "questions": []}


def expected() -> dict[str, str]:
    """What the branch must hold at the end, by path."""
    kept = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*") if path.is_file()}
    files = {name: text for name, text in expected_files().items() if name in kept}
    files["tally/__main__.py"] = (SAMPLE / "tally" / "__main__.py").read_text(encoding="utf-8")
    return files | {"tally/markdown.py": edits.MARKDOWN, "tests/test_markdown.py": edits.TEST_MARKDOWN}


def play(call: Call) -> Played:
    """Answer one call."""
    match call.purpose:
        case "plan":
            return [message(plan())]
        case "implement" if call.turn == 1:
            return [patch(call, edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN))]
        case "implement":
            return [report("There is a table.")]
        case _:
            return script.play(call)
