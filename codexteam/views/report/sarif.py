"""The findings as SARIF 2.1.0, for code scanning: one run for each gate, so that each can be uploaded by itself."""

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from codexteam import __version__
from codexteam.core.findings import Category, Severity
from codexteam.core.ids import GateName, JSONObject, JSONValue
from codexteam.core.state import FindingStatus
from codexteam.core.text import clean
from codexteam.report.judgements import FindingLife
from codexteam.report.run_report import RunReport

SCHEMA_URI: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {Severity.MUST_FIX: "error", Severity.SHOULD_FIX: "warning", Severity.NIT: "note"}
#: How GitHub ranks what is about security, by severity.
_SECURITY: Final = {Severity.MUST_FIX: "8.0", Severity.SHOULD_FIX: "5.0", Severity.NIT: "2.0"}
#: What a text of a result may have at most, in characters, and how many results a gate: GitHub keeps no more than that many
#: of a run. Beyond them the worst stay. The first that fit into a file count.
_SIZES: Final = ((8_000, 5_000), (1_000, 5_000), (200, 5_000), (200, 1_000), (200, 200))
#: What GitHub takes of a file that is compressed with gzip: 10 MB.
_MOST_BYTES: Final = 10_000_000


def render_sarif(report: RunReport) -> str:
    """Return the findings that stand, as JSON; what was fixed is left out, what a person waived is suppressed.

    Where the file would be larger than code scanning takes, texts are cut first, and then there are fewer results.
    """
    found = [life for life in report.findings if life.known.status is not FindingStatus.FIXED]
    text = ""
    for text_chars, most in _SIZES:
        runs = [
            _run(report, gate, [life for life in found if life.known.finding.gate is gate], text_chars, most)
            for gate in _asked(report)
        ]
        text = json.dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": runs}, indent=1) + "\n"
        # compressed it is hardly ever larger
        if len(text) < _MOST_BYTES or len(gzip.compress(text.encode(), compresslevel=6)) < _MOST_BYTES:
            break
    return text


def render_no_findings() -> str:
    """Return a file that says that nothing was found, because there was nothing to look at."""
    driver: JSONObject = {"name": "codexteam", "semanticVersion": __version__, "rules": []}
    runs: list[JSONValue] = [{"tool": {"driver": driver}, "results": []}]
    return json.dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": runs}, indent=1) + "\n"


def _asked(report: RunReport) -> list[GateName]:
    """Return the gates that said something: a run without results says that a gate found nothing."""
    spoken = {one.gate for round_ in report.rounds for one in round_.verdicts}
    spoken |= {life.known.finding.gate.value for life in report.findings}
    return [gate for gate in GateName if gate.value in spoken]


def _run(report: RunReport, gate: GateName, found: Sequence[FindingLife], text_chars: int, most: int) -> JSONObject:
    ranks = list(_LEVELS)
    worst = sorted(found, key=lambda life: ranks.index(life.known.finding.severity))[:most]
    lives = worst if len(found) > most else found
    rules = sorted({life.known.finding.category for life in lives})
    numbers = {category: number for number, category in enumerate(rules)}
    return {
        "tool": {
            "driver": {
                "name": f"codexteam {gate.value}",
                "semanticVersion": __version__,
                "rules": [_rule(gate, category) for category in rules],
            }
        },
        "automationDetails": {"id": f"codexteam/{gate.value}/{report.run.record.run_id}"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The repository's root."}}},
        "results": [_result(life, gate, numbers[life.known.finding.category], text_chars) for life in lives],
    }


def _rule(gate: GateName, category: Category) -> JSONObject:
    return {
        "id": _rule_id(gate, category),
        "shortDescription": {"text": f"{category.value}, found by {gate.value}"},
        "properties": {"tags": [category.value]},
    }


def _rule_id(gate: GateName, category: Category) -> str:
    return f"{gate.value}/{category.value}"


def _result(life: FindingLife, gate: GateName, rule: int, text_chars: int) -> JSONObject:
    finding = life.known.finding
    text = "\n\n".join(clean(part) for part in (finding.title, finding.detail, finding.suggestion) if part)
    properties: JSONObject = {"finding": life.id, "times": life.known.times, "status": life.known.status.value}
    if finding.category is Category.SECURITY:
        properties["security-severity"] = _SECURITY[finding.severity]
    result: JSONObject = {
        "ruleId": _rule_id(gate, finding.category),
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": text[:text_chars]},
        "partialFingerprints": {
            "codexteam/v1": hashlib.sha256(life.known.fingerprint.encode("utf-8", "backslashreplace")).hexdigest()
        },
        "properties": properties,
    }
    if uri := _uri(finding.file):
        place: JSONObject = {"artifactLocation": {"uri": uri, "uriBaseId": "SRCROOT"}}
        if finding.line is not None and finding.line > 0:
            place["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": place}]
    if life.known.status is FindingStatus.WAIVED:
        why = "A person decided that it may stay."
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return result


def _uri(file: str | None) -> str:
    """Return a path below the repository's root as a relative URI; empty for what is not one."""
    path = PurePosixPath(file or "")
    if not file or path.is_absolute() or ".." in path.parts:
        return ""
    return quote(path.as_posix().encode("utf-8", "surrogateescape"), safe="/")
