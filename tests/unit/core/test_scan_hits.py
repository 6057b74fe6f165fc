"""What scanners report: SARIF of many makers, what is new against the base, and the findings that come of it."""

import json
from dataclasses import replace

import pytest

from codexteam.core.findings import Category, Severity, fingerprint
from codexteam.core.ids import GateName, JSONObject, JSONValue
from codexteam.core.scan_hits import (
    MOST_FINDINGS,
    HitLevel,
    ScanHit,
    hit_lines,
    new_hits,
    read_sarif,
    scan_findings,
    with_text,
)

HIT = ScanHit("py-eval", "code is run", HitLevel.ERROR, "a.py", 3, 3, "eval", "eval(x)", "ast-grep")


def sarif(*results: JSONObject, rules: JSONValue = None, extensions: JSONValue = None) -> str:
    driver: JSONObject = {"name": "demo", "rules": rules or []}
    return json.dumps(
        {"version": "2.1.0", "runs": [{"tool": {"driver": driver, "extensions": extensions}, "results": [*results]}]}
    )


def result(fields: JSONObject | None = None, *, uri: str = "src/a.py") -> JSONObject:
    place: JSONObject = {"artifactLocation": {"uri": uri}, "region": {"startLine": 3, "endLine": 4}}
    return {
        "ruleId": "r1",
        "message": {"text": "bad\n  thing"},
        "locations": [{"physicalLocation": place}],
        **(fields or {}),
    }


def test_a_result_becomes_a_hit_with_its_place() -> None:
    [hit] = read_sarif(sarif(result({"level": "error"})))
    assert hit == ScanHit("r1", "bad thing", HitLevel.ERROR, "src/a.py", 3, 4, scanner="demo")


@pytest.mark.parametrize(
    ("fields", "rule", "level"),
    [
        ({"level": "note"}, {}, HitLevel.NOTE),
        ({}, {"defaultConfiguration": {"level": "error"}}, HitLevel.ERROR),
        ({}, {"properties": {"security-severity": "8.1"}}, HitLevel.ERROR),
        ({}, {"properties": {"security-severity": "2.0"}}, HitLevel.WARNING),
        ({"level": "none"}, {}, HitLevel.NOTE),
        ({"level": ["error"]}, {}, HitLevel.WARNING),
    ],
)
def test_the_level_is_the_results_or_its_rules(fields: JSONObject, rule: JSONObject, level: HitLevel) -> None:
    text = sarif(result(fields), extensions=[{"rules": [{"id": "r1", **rule}]}])
    assert [hit.level for hit in read_sarif(text)] == [level]


@pytest.mark.parametrize("uri", ["./src/a.py", "/workspace/src/a.py", "file:///workspace/src/a.py", "src%2Fa.py"])
def test_paths_are_those_of_the_repository(uri: str) -> None:
    assert [hit.path for hit in read_sarif(sarif(result(uri=uri)), root="/workspace")] == ["src/a.py"]


def test_other_output_may_stand_around_a_log() -> None:
    assert len(read_sarif(f"scanning {{1}}\n{{}}\n{sarif(result())}\ndone\n")) == 1


@pytest.mark.parametrize("text", ["", "no json", "{", '{"runs": 3}', "[1]", '{"runs": ' + "[" * 100_000])
def test_output_without_a_log_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no SARIF log"):
        read_sarif(text)


def test_what_passed_is_no_hit_and_a_suppressed_result_is_one() -> None:
    text = sarif(result({"kind": "pass"}), result({"suppressions": [{"kind": "inSource"}]}), {"ruleId": "r2"})
    assert len(read_sarif(text)) == 1


def test_code_that_moved_brings_no_hit_and_a_copy_of_it_does() -> None:
    moved = replace(HIT, path="b.py", line=90)
    assert new_hits([HIT], [moved]) == ()
    assert new_hits([HIT], [HIT, moved]) == (moved,)


def test_two_scanners_on_one_line_are_one_hit() -> None:
    other = replace(HIT, rule="S307", level=HitLevel.WARNING, scanner="ruff")
    assert new_hits([], [HIT, other]) == (HIT,)
    assert new_hits([], [HIT, replace(other, weakness="sql")]) == (HIT, replace(other, weakness="sql"))


def test_a_secret_is_not_in_the_text() -> None:
    lines = ["x = 1", "password = 'hunter2-9931'  # \"x\"", 'key = "never closed']
    assert with_text(replace(HIT, line=2, end_line=2), lines, secret=True).text == 'password = "..." # "..."'
    assert with_text(replace(HIT, line=3, end_line=3), lines, secret=True).text == 'key = "..."'


def test_an_error_must_be_fixed_and_a_warning_should() -> None:
    warned = replace(HIT, level=HitLevel.WARNING, text="eval(y)")
    first, second = scan_findings([HIT, warned], "error")
    assert (first.severity, first.category, first.gate) == (Severity.MUST_FIX, Category.SECURITY, GateName.SCAN)
    assert (first.file, first.line, first.paths) == ("a.py", 3, ("a.py",))
    assert second.severity is Severity.SHOULD_FIX
    assert [one.severity for one in scan_findings([HIT, warned], "warning")] == [Severity.MUST_FIX] * 2
    assert [one.severity for one in scan_findings([HIT, warned], "never")] == [Severity.SHOULD_FIX] * 2


def test_nothing_must_be_fixed_in_tests() -> None:
    assert [one.severity for one in scan_findings([replace(HIT, path="tests/test_a.py")], "error")] == [
        Severity.SHOULD_FIX
    ]


def test_places_that_cannot_be_told_apart_are_one_finding() -> None:
    [found] = scan_findings([HIT, replace(HIT, line=9)], "error")
    assert "a.py:3, a.py:9" in found.detail
    other = scan_findings([replace(HIT, text="eval(z)")], "error")[0]
    assert fingerprint(found) != fingerprint(other)


def test_no_finding_is_dropped_where_there_are_many() -> None:
    hits = [
        replace(HIT, path=f"a{chr(97 + number % 26)}{chr(97 + number // 26)}.py") for number in range(MOST_FINDINGS + 5)
    ]
    found = scan_findings(hits, "error")
    assert len(found) == MOST_FINDINGS + 1
    assert found[-1].severity is Severity.MUST_FIX
    assert all(hit.path in found[-1].detail for hit in hits[MOST_FINDINGS:])


def test_a_judge_reads_each_hit_on_a_line() -> None:
    evil = replace(HIT, path="a\n.py", text="eval(\x1b[2J)")
    text = hit_lines([evil, HIT, HIT], most=2)
    assert text.splitlines() == [
        "- a\\n.py:3 [error] py-eval: code is run: `eval(\\x1b[2J)`",
        "- a.py:3 [error] py-eval: code is run: `eval(x)`",
        "- 1 more",
    ]
