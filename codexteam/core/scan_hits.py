"""What scanners report, as far as a change brought it: hits, what is new among them, and the findings they become.

Scanners report in SARIF (2.1.0), whoever wrote them. A hit is new if the base commit has no such hit: the same rule on the
same text, wherever it stands, so that code which is moved or indented brings none.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Category, Finding, Severity, fingerprint
from codexteam.core.ids import GateName, JSONObject, JSONValue
from codexteam.core.text import clean_line, count_of


class HitLevel(StrEnum):
    """How sure or how grave a hit is, as SARIF has it."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Return its place: the gravest has the lowest."""
        return [*HitLevel].index(self)


@dataclass(frozen=True, slots=True)
class ScanHit:
    """One place that a scanner reports."""

    rule: str
    message: str
    level: HitLevel
    path: str
    line: int
    end_line: int
    weakness: str = ""
    """What kind of weakness it is, such as `shell-injection`; two scanners may say the same of one place."""
    text: str = ""
    """What stands there, on one line; secrets are left out. It is hostile."""
    scanner: str = ""


#: What of a hit's text and message is kept.
_TEXT_CHARS, _MESSAGE_CHARS = 160, 300
#: From this CVSS score on a rule without a level counts as an error.
_GRAVE_SCORE = 7.0
#: Findings of one scan; what is more becomes one finding that lists it.
MOST_FINDINGS = 40

#: Weaknesses whose places hold a secret, which nobody is to be shown.
SECRETS: Final = frozenset({"hard-coded-password", "connection-string"})
#: What to do about a weakness.
ADVICE: Final[Mapping[str, str]] = {
    "shell-injection": "Pass a list of arguments and no shell; where a shell is needed, quote each value.",
    "command-from-request": "Choose the program from a fixed list.",
    "sql-by-string": "Pass values as parameters of the statement; choose names of tables and columns from a fixed list.",
    "eval": "Parse the text, or choose from a fixed list, instead of running it.",
    "unsafe-deserialisation": "Use a format that holds data alone, such as JSON, or the library's safe loader.",
    "path-traversal": "Resolve the path and refuse what is not below the intended folder, or take the base name alone.",
    "ssrf": "Allow a fixed list of hosts, and refuse private addresses after the name is resolved.",
    "tls-off": "Verify certificates; name the authority's certificate where it is a private one.",
    "weak-password-hash": "Use a hash made for passwords: argon2, scrypt or bcrypt, with a salt.",
    "hard-coded-password": "Read it from the environment or a secret store, and replace the one that was written down.",
    "connection-string": "Read it from the environment or a secret store, and replace the password that was written down.",
    "open-redirect": "Redirect to paths of this site alone, or to a fixed list of addresses.",
    "secret-in-log": "Leave the secret out of the log.",
    "jwt-unverified": "Verify the signature, with the algorithms that you expect named.",
    "template-injection": "Keep the template fixed and pass values to it.",
    "html-injection": "Escape the value, or set text instead of HTML.",
    "html-unescaped": "Let the template escape the value.",
}


def read_sarif(text: str, scanner: str = "", *, root: str = "") -> tuple[ScanHit, ...]:
    """Return the hits of a SARIF log; other output may stand around it.

    Args:
        text: What a scanner printed.
        scanner: What it is called; empty: as it calls itself.
        root: The folder that absolute paths are made relative to.

    Raises:
        ValueError: there is no SARIF log in it.
    """
    hits: list[ScanHit] = []
    for run in _objects(_log_in(text).get("runs")):
        driver = _object(_object(run.get("tool")).get("driver"))
        rules = {str(rule.get("id")): rule for rule in _rules(run)}
        name = scanner or clean_line(str(driver.get("name", "")))[:_TEXT_CHARS]
        for result in _objects(run.get("results")):
            hits += _hits(result, rules, name, root)
    return tuple(hits)


def _log_in(text: str) -> JSONObject:
    decoder = json.JSONDecoder()
    # the log begins a line; a scanner may have printed lines before it
    for match in re.finditer(r"^\s*\{", text, re.MULTILINE):
        try:
            value, _ = decoder.raw_decode(text, match.end() - 1)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("runs"), list):
            return value
    raise ValueError("no SARIF log (a JSON object with `runs`) was printed")


def _rules(run: JSONObject) -> Iterator[JSONObject]:
    tool = _object(run.get("tool"))
    for part in (tool.get("driver"), *_objects(tool.get("extensions"))):
        yield from _objects(_object(part).get("rules"))


def _hits(result: JSONObject, rules: Mapping[str, JSONObject], scanner: str, root: str) -> Iterator[ScanHit]:
    if result.get("kind") in {"pass", "notApplicable"}:
        return
    rule_id = str(result.get("ruleId") or _object(result.get("rule")).get("id") or "unnamed rule")
    rule = rules.get(rule_id, {})
    said = _object(result.get("message")).get("text") or _object(rule.get("shortDescription")).get("text") or rule_id
    message = " ".join(str(said).split())[:_MESSAGE_CHARS]
    level = _level(result, rule)
    for location in _objects(result.get("locations"))[:1]:
        place = _object(location.get("physicalLocation"))
        region = _object(place.get("region"))
        line = _number(region.get("startLine"))
        path = _path(str(_object(place.get("artifactLocation")).get("uri") or ""), root)
        if path:
            end = max(line, _number(region.get("endLine")))
            yield ScanHit(
                clean_line(rule_id)[:_TEXT_CHARS], clean_line(message), level, path, line, end, scanner=scanner
            )


def _level(result: JSONObject, rule: JSONObject) -> HitLevel:
    said = result.get("level") or _object(rule.get("defaultConfiguration")).get("level")
    if isinstance(said, str) and said in {*HitLevel}:
        return HitLevel(said)
    score = str(_object(rule.get("properties")).get("security-severity", ""))
    if re.fullmatch(r"\d{1,2}(\.\d+)?", score) and float(score) >= _GRAVE_SCORE:
        return HitLevel.ERROR
    return HitLevel.NOTE if said == "none" else HitLevel.WARNING


def _path(uri: str, root: str) -> str:
    parts = urlsplit(uri) if uri.startswith("file:") else None
    path = unquote(parts.path if parts is not None else uri)
    if root and path.startswith(f"{root}/"):
        path = path[len(root) + 1 :]
    return path.removeprefix("./")


def _number(value: JSONValue) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _object(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _objects(value: JSONValue) -> list[JSONObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def with_text(hit: ScanHit, lines: Sequence[str], *, secret: bool = False) -> ScanHit:
    """Return a hit with what stands at its place; of a secret, the line without its literals."""
    text = " ".join(" ".join(lines[hit.line - 1 : hit.end_line]).split())
    if secret:
        text = re.sub(r"\"[^\"]*\"?|'[^']*'?|`[^`]*`?", '"..."', text)
    return replace(hit, text=text[:_TEXT_CHARS])


def new_hits(base: Iterable[ScanHit], head: Iterable[ScanHit]) -> tuple[ScanHit, ...]:
    """Return the hits that the base has not; of two scanners that say the same of one line, the first."""
    known = Counter((hit.rule, hit.text) for hit in base)
    kept: list[ScanHit] = []
    said: set[tuple[str, int, str]] = set()
    for hit in head:
        if known[hit.rule, hit.text] > 0:
            known[hit.rule, hit.text] -= 1
            continue
        place = (hit.path, hit.line, hit.weakness or hit.rule)
        if place not in said:
            kept.append(hit)
        said.add(place)
    return tuple(sorted(kept, key=lambda hit: (hit.level.rank, hit.path, hit.line)))


def scan_findings(hits: Iterable[ScanHit], block_at: str) -> tuple[Finding, ...]:
    """Return a finding for each new hit; hits that nobody could tell apart are one finding.

    `block_at` is the least level that must be fixed; `never` is none. In tests nothing must be: their passwords and
    certificates are made up.
    """
    grouped: dict[str, list[tuple[ScanHit, Finding]]] = {}
    for hit in hits:
        found = _finding(hit, block_at)
        grouped.setdefault(fingerprint(found), []).append((hit, found))
    findings = [_with_places(group) for group in grouped.values()]
    if len(findings) <= MOST_FINDINGS:
        return tuple(findings)
    rest = findings[MOST_FINDINGS:]
    listed = "\n".join(f"- {one.file}:{one.line}: {one.title}" for one in rest[:200])
    worst = Severity.MUST_FIX if any(one.severity is Severity.MUST_FIX for one in rest) else Severity.SHOULD_FIX
    title = "the scan found more than is listed one by one"
    more = Finding(
        title, f"{count_of(len(rest), 'finding')} more:\n{listed}", worst, Category.SECURITY, gate=GateName.SCAN
    )
    return (*findings[:MOST_FINDINGS], more)


def _finding(hit: ScanHit, block_at: str) -> Finding:
    shown = clean_line(hit.text)
    return Finding(
        f"{hit.message}: `{shown}`" if shown else hit.message,
        "",
        severity_of(hit, block_at),
        Category.SECURITY,
        file=hit.path,
        line=hit.line,
        suggestion=ADVICE.get(hit.weakness),
        paths=(hit.path,),
        gate=GateName.SCAN,
    )


def severity_of(hit: ScanHit, block_at: str) -> Severity:
    """Return how much a hit matters."""
    blocks = block_at in {*HitLevel} and hit.level.rank <= HitLevel(block_at).rank
    if blocks and not is_test_file(hit.path):
        return Severity.MUST_FIX
    return Severity.NIT if hit.level is HitLevel.NOTE else Severity.SHOULD_FIX


def _with_places(group: Sequence[tuple[ScanHit, Finding]]) -> Finding:
    hit, found = group[0]
    places = ", ".join(f"{clean_line(one.path)}:{one.line}" for one, _ in group[:20])
    detail = (
        f"Rule {hit.rule} of {hit.scanner}, at {places}; the base commit has none. It is fixed once a scan of the merged "
        "commit does not report it; comments that switch rules off do not count."
    )
    return replace(found, detail=detail)


def hit_lines(hits: Sequence[ScanHit], most: int = 60) -> str:
    """Return hits as a judge reads them, a line each."""
    lines = [
        f"- {clean_line(hit.path)}:{hit.line} [{hit.level.value}] {hit.rule}: {hit.message}"
        + (f": `{clean_line(hit.text)}`" if hit.text else "")
        for hit in hits[:most]
    ]
    left = len(hits) - len(lines)
    return "\n".join([*lines, f"- {left} more"] if left > 0 else lines)
