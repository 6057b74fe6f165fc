"""Tasks, acceptance commands and gates with their outcomes, as JUnit XML for tools that show test results."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from codexteam.core.text import clean
from codexteam.report.judgements import GateRound
from codexteam.report.run_report import RunReport
from codexteam.report.task_story import TaskStory

#: XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: What of an output is kept.
_TEXT_CHARS = 8_000


def render_junit(report: RunReport) -> str:
    """Return the suites as XML."""
    root = ET.Element("testsuites", {"name": f"codexteam {report.run.record.run_id}"})
    suites = [_tasks(report.stories), *_acceptance(report.stories), _gates(report.rounds)]
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in suites:
        if len(suite) == 0:
            continue
        _count(suite)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
        root.append(suite)
    for name, count in totals.items():
        root.set(name, str(count))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _tasks(stories: Iterable[TaskStory]) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "tasks"})
    for story in stories:
        task = story.known.task
        took = sum(attempt.ended_at_seconds - attempt.started_at_seconds for attempt in story.attempts)
        case = _case(suite, "task", f"{task.id} {task.title}", took)
        if story.word in {"failed", "blocked"}:
            last = next((attempt.evidence for attempt in reversed(story.attempts) if attempt.evidence), "")
            _say(case, "failure", story.known.reason or story.word, last)
        elif story.word != "merged":
            _say(case, "skipped", story.known.reason or story.word, "")
    return suite


def _acceptance(stories: Iterable[TaskStory]) -> Iterable[ET.Element]:
    for story in stories:
        suite = ET.Element("testsuite", {"name": f"acceptance of {_text(story.known.task.id)}"})
        # a failure that a later attempt mended is its history, not its result
        for attempt in story.attempts[-1:]:
            for check in attempt.checks:
                case = _case(suite, f"acceptance.{story.known.task.id}", check.command, check.seconds)
                if check.timed_out:
                    _say(case, "error", "timed out", attempt.evidence)
                elif check.exit_code != 0:
                    _say(case, "failure", f"exit code {check.exit_code}", attempt.evidence)
        yield suite


def _gates(rounds: Iterable[GateRound]) -> ET.Element:
    """Return what each gate said last: what it said before led to fixes, and is not how the run ended."""
    suite = ET.Element("testsuite", {"name": "gates"})
    newest = {verdict.gate: verdict for each in rounds for verdict in each.verdicts}
    for verdict in newest.values():
        case = _case(suite, "gate", verdict.gate, verdict.seconds)
        if verdict.verdict == "unanswered":
            _say(case, "error", "no verdict", verdict.note)
        elif verdict.verdict != "ship":
            _say(case, "failure", verdict.note or verdict.verdict, "")
        failing = {row.command: row for row in verdict.failing}
        for row in verdict.commands:
            ran = _case(suite, f"gate.{verdict.gate}", row.command, 0.0)
            reason = failing.pop(row.command, None)
            if reason is not None and reason.as_before:
                _say(ran, "skipped", "failed before the run too", reason.reason)
            elif not row.ok:
                _say(ran, "failure", row.how, reason.reason if reason else "")
    return suite


def _case(suite: ET.Element, group: str, name: str, seconds: float) -> ET.Element:
    fields = {"classname": _text(group), "name": _text(name), "time": f"{max(0.0, seconds):.3f}"}
    return ET.SubElement(suite, "testcase", fields)


def _say(case: ET.Element, kind: str, message: str, text: str) -> None:
    said = ET.SubElement(case, kind, {"message": _text(message)})
    if kind != "skipped":
        said.set("type", kind)
    said.text = _text(text)[-_TEXT_CHARS:] or None


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", clean(text))
