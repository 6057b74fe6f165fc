"""Findings in a gate's answer that fits its contract."""

from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.json_types import JSONObject, JSONValue


def findings_of(answer: JSONObject, gate: GateName) -> tuple[Finding, ...]:
    """Give the findings of an answer, in its order; the contract was checked before."""
    found = answer.get("findings")
    return tuple(_finding(item, gate) for item in found if isinstance(item, dict)) if isinstance(found, list) else ()


def _finding(item: JSONObject, gate: GateName) -> Finding:
    paths = item.get("paths")
    line = item.get("line")
    return Finding(
        title=" ".join(_text(item.get("title")).split()) or "a finding without a title",
        detail=_text(item.get("detail")),
        severity=Severity(_text(item.get("severity"))),
        category=Category(_text(item.get("category"))),
        file=_text(item.get("file")) or None,
        line=line if isinstance(line, int) else None,
        suggestion=_text(item.get("suggestion")) or None,
        paths=tuple(path for path in paths if isinstance(path, str)) if isinstance(paths, list) else (),
        gate=gate,
    )


def _text(value: JSONValue) -> str:
    return value if isinstance(value, str) else ""
