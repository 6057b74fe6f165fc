"""What a review found, on a terminal, for programs, and in Markdown."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line, count_of
from codexteam.report.progress import Progress
from codexteam.report.review_outcome import FindingStanding, ReviewedFinding, ReviewOutcome
from codexteam.views.formatting import foreign, in_words, worth
from codexteam.views.layout import print_wrapped
from codexteam.views.report.markdown import code, safe
from codexteam.views.summary import cost_lines, judged_lines, spent_lines

_COLOURS = {"ship": "green", "block": "red"}
_STYLES = {
    FindingStanding.NEW: "red",
    FindingStanding.UNCHANGED: "red",
    FindingStanding.FIXED: "green",
    FindingStanding.WAIVED: "yellow",
    FindingStanding.NOTED: "none",
}
_DETAIL_CHARS = 2_000
_NOTHING = "no file differs"


def print_review(console: Console, found: ReviewOutcome, progress: Progress, *, folder: str, report: str) -> None:
    """Print how a review ended: its verdict, what it found, what judged it, and what it took."""
    word = found.verdict or "no verdict"
    head = Text(word, style=f"bold {_COLOURS.get(found.verdict, 'yellow')}")
    print_wrapped(console, head.append_text(foreign(f": {_why(found)}", style="none")), indent=0)
    print_wrapped(console, foreign(f"of      {found.title}{_span(found)}"))
    for one in found.findings:
        for line in _finding(one):
            print_wrapped(console, line)
    if found.judged_before is not None:
        what = "the review" if found.base != found.head else "the audit"
        print_wrapped(console, foreign(f"since   {what} of {found.judged_before[:12]}: {_compared(found)}"))
    for line in (*judged_lines(progress), *spent_lines(progress)):
        print_wrapped(console, line)
    if progress.agents:
        for line in cost_lines(progress, console.width if console.is_terminal else None):
            console.print(line, soft_wrap=True)
    if report:
        console.print(Text(f"report  {report}"), soft_wrap=True)
    console.print(Text(f"files   {folder}"), soft_wrap=True)
    for command in next_commands(found):
        console.print(Text("next    ").append(command, style="bold"), soft_wrap=True)


def _why(found: ReviewOutcome) -> str:
    """Return why, in words of a review."""
    blocking = [one for one in found.findings if one.blocks]
    return f"{count_of(len(blocking), 'finding')} must be fixed" if found.verdict == "block" else found.reason


def _span(found: ReviewOutcome) -> str:
    if found.base is None or found.head is None:
        return ""
    # what an audit judges is there already
    return f", {found.base[:12]} to {found.head[:12]}" if found.base != found.head else f", at {found.head[:12]}"


def _finding(one: ReviewedFinding) -> Iterable[Text]:
    found = one.finding
    place = "" if not found.file else f" {found.file}" if found.line is None else f" {found.file}:{found.line}"
    said = in_words(found.severity.value)
    words = f"{one.standing.value}, {said}" if one.standing is not FindingStanding.NOTED else said
    yield foreign(f"{found.id or '':<8}{words}{place}: {found.title}", style=_STYLES[one.standing])
    if one.standing is FindingStanding.FIXED:
        return
    if found.detail:
        yield foreign(f"        {_short(found.detail)}", style="none")
    if found.suggestion:
        yield foreign(f"        suggested: {_short(found.suggestion)}", style="none")


def _short(text: str) -> str:
    line = clean_line(" ".join(text.split()))
    return line if len(line) <= _DETAIL_CHARS else f"{line[: _DETAIL_CHARS - 3]}..."


def _compared(found: ReviewOutcome) -> str:
    shown = (FindingStanding.FIXED, FindingStanding.NEW, FindingStanding.UNCHANGED)
    return ", ".join(f"{found.count(standing)} {standing.value}" for standing in shown)


def next_commands(found: ReviewOutcome) -> list[str]:
    """Return what a user would type next."""
    blocking = [one.finding.id for one in found.findings if one.blocks and one.finding.id]
    if found.verdict == "block":
        return [f"codexteam answer findings waive {blocking[0]}"] if blocking else []
    return [] if found.verdict else ["codexteam resume"]


def nothing_json(title: str) -> JSONObject:
    """Return what is said of a change that changes nothing, for programs."""
    return {"title": title, "verdict": None, "reason": _NOTHING, "findings": [], "exit_code": 0}


def render_nothing_markdown(title: str) -> str:
    """Return what is said of a change that changes nothing, in Markdown."""
    return f"# Nothing to review: {safe(title)}\n\n{_NOTHING.capitalize()}.\n"


def render_review_markdown(found: ReviewOutcome, progress: Progress) -> str:
    """Return a review for a pull request or a step summary."""
    return "\n".join(_markdown(found, progress)).rstrip() + "\n"


def _markdown(found: ReviewOutcome, progress: Progress) -> Iterable[str]:
    yield f"# {(found.verdict or 'no verdict').capitalize()}: {safe(found.title)}"
    yield ""
    yield safe(_why(found))
    yield ""
    if found.judged_before is not None:
        yield from (f"Since the review of {code(found.judged_before[:12])}: {_compared(found)}.", "")
    if found.findings:
        yield from ("## Findings", "", "| | severity | standing | place | finding |", "| --- | --- | --- | --- | --- |")
        yield from map(_row, found.findings)
        yield ""
    for one in found.findings:
        if one.blocks:
            yield from _details(one)
    if progress.gates:
        yield from ("## Gates", "")
        for gate in progress.gates.values():
            yield f"- {safe(gate.name)}: {safe(gate.state)}"
            for ran in gate.commands:
                yield f"  - {code(ran.command)} {'passed' if ran.ok else 'failed'}: {safe(ran.how)}"
        yield ""
    yield f"Cost {worth(progress.usd, progress.credits)}; review {found.run_id} of {code(_span(found).strip(', '))}."


def _row(one: ReviewedFinding) -> str:
    found = one.finding
    place = code(f"{found.file}:{found.line}" if found.line is not None else found.file) if found.file else ""
    cells = (found.id or "", in_words(found.severity.value), one.standing.value, place, safe(found.title))
    return f"| {' | '.join(cells)} |"


def _details(one: ReviewedFinding) -> Iterable[str]:
    found = one.finding
    yield from (f"### {found.id}: {safe(found.title)}", "", safe(found.detail, most_chars=_DETAIL_CHARS), "")
    if found.suggestion:
        yield from (f"Suggested: {safe(found.suggestion, most_chars=_DETAIL_CHARS)}", "")
