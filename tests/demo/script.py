"""The model of the demo, as a script: a small plan, one wrong first attempt, one finding that is fixed."""

from collections.abc import Sequence

from codexteam.core.ids import JSONObject, JSONValue
from tests.demo import edits
from tests.scripted_api.script import Call, Played, custom_call, function_call, message

TESTS = "python3 -m unittest discover -q -s tests -t ."


def play(call: Call) -> Played:
    """Answer one call."""
    match call.purpose:
        case "scout":
            return _scout(call)
        case "plan":
            return [message(PLAN)]
        case "replan":
            return [message(FIX_PLAN)]
        case "implement":
            return _implement(call)
        case "review":
            return _review(call)
        case "security":
            return _security(call)
        case "qa":
            return _qa(call)
        case "document":
            return _document(call)
        case "release":
            return [message(NOTES)]
        case other:
            return [message(f"nothing is scripted for {other}")]


def patch(call: Call, text: str) -> JSONObject:
    """Call apply_patch in the form in which it is offered."""
    tools = call.body.get("tools")
    offered = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    kind = next((tool.get("type") for tool in offered if tool.get("name") == "apply_patch"), "custom")
    return custom_call("apply_patch", text) if kind == "custom" else function_call("apply_patch", {"input": text})


def run(command: str) -> JSONObject:
    return function_call("exec_command", {"cmd": command})


def task(
    name: str,
    title: str,
    *,
    paths: Sequence[str],
    check: str,
    deps: Sequence[str] = (),
    effort: int = 1,
    fixes: Sequence[str] = (),
) -> JSONObject:
    return {
        "id": name,
        "title": title,
        "description": "",
        "role": "implementer",
        "deps": list(deps),
        "paths": list(paths),
        "acceptance": [{"criterion": "its tests pass", "command": f"python3 -m unittest -q {check}"}],
        "effort": effort,
        "fixes": list(fixes),
    }


PLAN: JSONObject = {
    "summary": "Three independent modules, then the command that joins them.",
    "tasks": [
        task(
            "T1",
            "Read CSV files",
            paths=["tally/read_csv.py", "tests/test_read_csv.py"],
            check="tests.test_read_csv",
            effort=2,
        ),
        task("T2", "Sum by category", paths=["tally/summary.py", "tests/test_summary.py"], check="tests.test_summary"),
        task(
            "T3",
            "Write a Markdown table",
            paths=["tally/markdown.py", "tests/test_markdown.py"],
            check="tests.test_markdown",
        ),
        task(
            "T4",
            "Add the report command",
            paths=["tally/__main__.py", "tests/test_report.py"],
            check="tests.test_report",
            deps=["T1", "T2", "T3"],
        ),
    ],
    "later": ["read Excel files"],
    "risks": [],
    "questions": [],
}

FIX_PLAN: JSONObject = {
    "summary": "One fix.",
    "tasks": [
        task(
            "T5",
            "Keep bars inside their cell",
            paths=["tally/markdown.py", "tests/test_markdown.py"],
            check="tests.test_markdown",
            fixes=["F1"],
        )
    ],
    "later": [],
    "risks": [],
    "questions": [],
}

NOTES: JSONObject = {
    "user_notes": "`python3 -m tally report CSV` prints the sum of each category of a CSV file as a Markdown table.",
    "internal_notes": "Reading, summing and writing are modules of their own; the command joins them.",
    "rollout": ["Nothing to migrate."],
    "rollback": ["Revert the merge; no data is written."],
    "checklist": ["python3 -m unittest discover -q -s tests -t ."],
}


def _scout(call: Call) -> Played:
    if call.turn == 1:
        return [run("cat README.md AGENTS.md .github/workflows/ci.yml; git log --oneline | head -5")]
    files: list[JSONValue] = [
        {"path": "tally/money.py", "purpose": "amounts as whole cents", "symbols": ["parse_amount", "format_amount"]},
        {"path": "tally/__main__.py", "purpose": "the command line", "symbols": ["main"]},
    ]
    answer: JSONObject = {
        "summary": "A small standard-library program; unittest, one test file a module.",
        "files": files,
        "ci": [{"file": ".github/workflows/ci.yml", "command": TESTS}],
        "next_probes": [],
    }
    return [message(answer)]


def report(summary: str, *commands: str) -> JSONObject:
    return message(
        {
            "status": "done",
            "summary": summary,
            "commands": [{"command": command, "exit_code": 0, "note": ""} for command in commands],
            "question": None,
            "later": [],
            "risks": [],
        }
    )


WORK: dict[tuple[str, int], tuple[str, str]] = {
    ("T1", 1): (
        edits.add(tally__read_csv=edits.READ_CSV, tests__test_read_csv=edits.TEST_READ_CSV),
        "Read CSV files row by row; a bad row is named by its line.",
    ),
    # it says that it is done, and is not: the sums are overwritten
    ("T2", 1): (
        edits.add(
            tally__summary=edits.SUMMARY_WRONG.replace("from tally.read_csv import Entry\n\n\n", "\n"),
            tests__test_summary=edits.TEST_SUMMARY,
        ).replace("Iterable[Entry]", "Iterable"),
        "Sum entries by category. All tests pass.",
    ),
    ("T2", 2): (
        "",
        "Add up the entries of a category instead of keeping the last one.",
    ),
    ("T3", 1): (
        edits.add(tally__markdown=edits.MARKDOWN, tests__test_markdown=edits.TEST_MARKDOWN),
        "Write sums as a Markdown table with a total.",
    ),
    ("T4", 1): (edits.MAIN_PATCH, "Add `report CSV` to the command line."),
    ("T5", 1): (edits.ESCAPE_PATCH, "Escape bars in categories."),
}


def _implement(call: Call) -> Played:
    key = (call.task_id, call.attempt)
    text, summary = WORK[key]
    checks = {"T1": "read_csv", "T2": "summary", "T3": "markdown", "T4": "report", "T5": "markdown"}
    command = f"python3 -m unittest -q tests.test_{checks[call.task_id]}"
    lies = key == ("T2", 1)
    if call.turn == 1:
        if key == ("T2", 2):
            return [run(command)]
        return [patch(call, text)]
    if call.turn == 2 and key == ("T4", 1):
        return [patch(call, edits.add(tests__test_report=edits.TEST_REPORT))]
    if call.turn == 2 and key == ("T2", 2):
        return [patch(call, edits.add(tally__summary=edits.SUMMARY, tests__test_summary=edits.TEST_SUMMARY))]
    if call.turn == (3 if key in {("T4", 1), ("T2", 2)} else 2) and not lies:
        return [run(command)]
    return [report(summary, command)]


def _review(call: Call) -> Played:
    if call.turn == 1:
        return [run("git log --oneline -8 && python3 -m unittest discover -q -s tests -t .")]
    if call.attempt == 1:
        finding: JSONObject = {
            "title": "A bar in a category breaks the Markdown table",
            "detail": "`table({'a|b': 1})` gives a row of three cells. A category is free text from a CSV file.",
            "severity": "must_fix",
            "category": "correctness",
            "file": "tally/markdown.py",
            "line": 11,
            "suggestion": "Escape `|` as `\\|` in cells.",
            "paths": ["tally/markdown.py", "tests/test_markdown.py"],
        }
        return [
            message({"verdict": "block", "summary": "One case breaks the output.", "findings": [finding], "risks": []})
        ]
    return [message({"verdict": "ship", "summary": "Small, tested, as asked.", "findings": [], "risks": []})]


def _security(call: Call) -> Played:
    if call.turn == 1:
        return [run("grep -rn 'open(' tally")]
    summary = "Files are read by a path that the user gives on the command line; nothing is executed or sent."
    return [message({"verdict": "ship", "summary": summary, "findings": [], "risks": []})]


def _qa(call: Call) -> Played:
    if call.turn == 1:
        return [
            run("printf 'category,amount\\nfood,1\\nfood,2.5\\n' > /tmp/in.csv && python3 -m tally report /tmp/in.csv")
        ]
    answer: JSONObject = {
        "summary": "The command does what the goal asks for; the tests cover each module.",
        "tests_changed": [],
        "commands": [{"command": "python3 -m tally report /tmp/in.csv", "exit_code": 0, "note": ""}],
        "confidence": "high",
        "findings": [],
        "risks": [],
    }
    return [message(answer)]


def _document(call: Call) -> Played:
    if call.turn == 1:
        return [patch(call, edits.README_PATCH)]
    return [report("Say in the README how a CSV file is reported.")]
