"""The report for other programs: what each of them reads back."""

import gzip
import json
import random
import re
from base64 import b85encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from junitparser import JUnitXml

from codexteam.errors import UsageError
from codexteam.report.comparison import compare_runs
from codexteam.report.judgements import FindingLife
from codexteam.views.report.formats import ReportFormat, format_of, rendered, rendered_comparison
from tests.support_reports import HOSTILE, report_of

SCHEMA = Path(__file__).parents[3] / "data" / "sarif" / "sarif-schema-2.1.0.json"
BOTH = pytest.mark.parametrize("said", ["plain words", HOSTILE])


def _json(said: str, form: ReportFormat) -> Any:
    return json.loads(rendered(report_of(said), form))


@BOTH
def test_sarif_keeps_to_its_schema(said: str) -> None:
    found = _json(said, ReportFormat.SARIF)

    Draft4Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(found)
    [run] = found["runs"]
    [result] = run["results"]
    assert run["automationDetails"]["id"].startswith("codexteam/reviewer/")
    assert (result["ruleId"], result["level"]) == ("reviewer/security", "error")
    assert result["properties"]["security-severity"] == "8.0"
    assert len(result["partialFingerprints"]["codexteam/v1"]) == 64


def test_sarif_has_at_most_what_github_keeps() -> None:
    report = report_of()
    many = replace(report, findings=(report.findings[0],) * 5_001)

    runs = json.loads(rendered(many, ReportFormat.SARIF))["runs"]
    assert max(len(run["results"]) for run in runs) == 5_000


@pytest.mark.slow
def test_a_sarif_file_that_github_would_refuse_has_shorter_texts() -> None:
    report, noise = report_of(), random.Random(18)
    life = report.findings[0]

    def said() -> FindingLife:
        finding = replace(life.known.finding, detail=b85encode(noise.randbytes(6_800)).decode())
        return replace(life, known=replace(life.known, finding=finding))

    many = replace(report, findings=tuple(said() for _ in range(1_650)))

    text = rendered(many, ReportFormat.SARIF)
    assert len(gzip.compress(text.encode(), compresslevel=1)) < 10_000_000
    [results] = [run["results"] for run in json.loads(text)["runs"]]
    assert {len(result["message"]["text"]) for result in results} == {1_000}
    assert len(results) == 1_650


@pytest.mark.parametrize(("path", "shown"), [("src/a b.py", "src/a%20b.py"), ("/etc/passwd", ""), ("../../x", "")])
def test_sarif_names_only_files_of_the_repository(path: str, shown: str) -> None:
    [result] = _json(path, ReportFormat.SARIF)["runs"][0]["results"]

    places = [place["physicalLocation"]["artifactLocation"]["uri"] for place in result.get("locations", [])]
    assert places == ([shown] if shown else [])


@BOTH
def test_junit_is_read_by_a_program_that_reads_junit(said: str, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(rendered(report_of(said), ReportFormat.JUNIT), encoding="utf-8")

    suites = {suite.name: suite for suite in JUnitXml.fromfile(str(file))}
    assert suites["tasks"].tests == 3
    assert suites["tasks"].failures == 0
    assert suites["acceptance of T1"].tests == 1
    assert (suites["gates"].tests, suites["gates"].failures) == (2, 2)


@BOTH
def test_a_trace_has_a_thread_for_each_lane_and_what_it_did(said: str) -> None:
    report = report_of(said)
    trace = json.loads(rendered(report, ReportFormat.TRACE))

    events = trace["traceEvents"]
    threads = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
    assert list(threads) == [lane.name for lane in report.timeline.lanes]
    bars = [event for event in events if event["ph"] == "X" and event["tid"] == threads["implementer T1.1"]]
    assert [(bar["cat"], bar["ts"], bar["dur"]) for bar in bars[:2]] == [
        ("model", 10_000_000, 6_000_000),
        ("command", 16_000_000, 4_000_000),
    ]
    begun = {event["id"]: event["ts"] for event in events if event["ph"] == "s"}
    ended = {event["id"]: event["ts"] for event in events if event["ph"] == "f"}
    assert begun.keys() == ended.keys()
    assert all(begun[number] <= ended[number] for number in begun)


def test_mermaid_has_nothing_of_a_hostile_text_that_is_its_own() -> None:
    plain, hostile = (rendered(report_of(said), ReportFormat.MERMAID) for said in ("plain words", HOSTILE))

    assert len(hostile.splitlines()) == len(plain.splitlines())
    labels = [line.partition('["')[2].rpartition('"]')[0] for line in hostile.splitlines() if '["' in line]
    assert labels
    assert not set('"#;:`<>{}[]()|\\%&') & set("".join(labels))


def test_markdown_shows_a_hostile_text_and_obeys_none_of_it() -> None:
    plain, hostile = (rendered(report_of(said), ReportFormat.MD) for said in ("plain words", HOSTILE))

    assert len(hostile.splitlines()) == len(plain.splitlines())
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", hostile.replace("\\`", ""), flags=re.DOTALL)
    assert "<script" not in outside
    assert "@everyone" not in outside
    assert "](http" not in outside
    assert "\x1b" not in hostile


def test_json_says_what_status_says_and_what_a_report_adds() -> None:
    report = report_of()
    found = json.loads(rendered(report, ReportFormat.JSON))

    assert (found["type"], found["run"], found["events"]) == ("report", report.run.record.run_id, report.events)
    assert found["rounds"][0]["verdicts"][0]["verdict"] == "block"
    assert found["findings"][0]["life"][0]["what"] == "opened"
    assert found["spending"]["total"]["usage"]["input_tokens"] == 7_000


def test_two_runs_are_compared_in_figures() -> None:
    found = compare_runs(report_of(tasks=2), report_of(tasks=4))
    lines = rendered_comparison(found, ReportFormat.MD).splitlines()

    assert "| tasks merged | 2 | 4 | +100 % |" in lines
    assert json.loads(rendered_comparison(found, ReportFormat.JSON))["type"] == "comparison"


def test_two_runs_have_no_trace() -> None:
    with pytest.raises(UsageError, match="two are compared as html, md or json"):
        rendered_comparison(compare_runs(report_of(), report_of()), ReportFormat.TRACE)


@pytest.mark.parametrize(("name", "form"), [("a.md", "md"), ("b.XML", "junit"), ("c.sarif", "sarif"), ("d", "html")])
def test_a_file_s_name_says_its_format(name: str, form: str) -> None:
    assert format_of(name).value == form
