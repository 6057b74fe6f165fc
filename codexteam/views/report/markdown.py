"""The report in Markdown: for a pull request, a step summary, a message."""

import re
from collections.abc import Iterable

from codexteam.core.text import clean, clean_line, count_of
from codexteam.report.comparison import ComparedFigure, RunComparison
from codexteam.report.run_report import RunReport
from codexteam.report.spending import SpentRow
from codexteam.views.formatting import answers_to, cost, in_words, share, tokens, unknown_words
from codexteam.views.report.figures import change_words, duration, figure_words, moment
from codexteam.views.report.mermaid import plan_lines
from codexteam.views.report.reproduction import reproduction

#: What Markdown or HTML in it would read as its own.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#|!~@&])")
_WWW = re.compile(r"www\.", re.IGNORECASE)
_SHORT_CHARS = 200
_OUTPUT_CHARS = 1_500


def render_markdown(report: RunReport) -> str:
    """Return the report."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def render_comparison_markdown(found: RunComparison) -> str:
    """Return two runs side by side."""
    first, second = found.first.run, found.second.run
    lines = ["# Two runs side by side", ""]
    lines += [f"- {run.record.run_id}, {in_words(run.word)}: {safe(run.record.goal)}" for run in (first, second)]
    head = f"| | {first.record.run_id} | {second.record.run_id} | change |"
    lines += ["", head, "| --- | ---: | ---: | ---: |", *map(_compared, found.figures)]
    lines += ["", "## Cost by role", "", head, "| --- | ---: | ---: | ---: |", *map(_compared, found.roles)]
    return "\n".join(lines) + "\n"


def _compared(one: ComparedFigure) -> str:
    first, second = (figure_words(value, one.unit) for value in (one.first, one.second))
    return table_row(safe(one.name), first, second, change_words(one.ratio))


def _lines(report: RunReport) -> Iterable[str]:
    run, progress = report.run, report.run.progress
    yield f"# {in_words(run.word)}: {safe(run.record.goal)}"
    yield ""
    if run.live:
        yield f"The run is still at work: this is how it was at {moment(report.taken_at_seconds)}."
        yield ""
    elif reason := run.broken_off or run.state.result_reason:
        yield safe(reason)
        yield ""
    yield f"- run {run.record.run_id}, {duration(report.timeline.seconds)} at work"
    yield f"- {run.merged} of {count_of(len(run.counted), 'task')} merged, {count_of(report.figures.attempts, 'attempt')}"
    budget = f" of {progress.budget}" if progress.budget else ""
    yield f"- cost {cost(progress.usd, progress.unknown)}{budget}, {tokens(progress.usage.total_tokens)} tokens"
    if unknown := unknown_words(progress.unknown):
        yield f"- {unknown}"
    if run.branch:
        names = ", ".join(map(code, run.state.landed_repositories))
        yield f"- branch {code(run.branch)} {f'in {names}' if names else f'at {code(str(run.state.landed)[:12])}'}"
    yield ""
    yield from _waiting(report)
    yield from evidence_lines(report)
    yield from _tasks(report)
    yield from finding_lines(report)
    yield from spending_lines("role", report.spending.by_role)
    yield from _widths(report)
    yield from _stalls(report)
    if commands := reproduction(report):
        yield from ("## Reproduce", "", *fenced(clean("\n".join(commands)), "sh"), "")


def _waiting(report: RunReport) -> Iterable[str]:
    if not report.run.holds:
        return
    yield from ("## Waiting for you", "")
    for item, hold in report.run.holds.items():
        yield f"- {code(item)}: {safe(hold.question)}: {code(answers_to(item)[0])}"
    yield ""


def evidence_lines(report: RunReport, *, with_commits: bool = True) -> Iterable[str]:
    """Say what the gates saw; without commits where readers do not have them."""
    state = report.run.state
    yield from ("## Evidence", "")
    if not state.gates:
        yield from ("No gate has given a verdict.", "")
        return
    yield from ("| gate | verdict | commit | ran |", "| --- | --- | --- | --- |")
    for gate, record in state.gates.items():
        ran = ", ".join(f"{code(one.command)} {'passed' if one.ok else 'failed'}" for one in record.commands)
        at = code(record.commit[:10]) if with_commits else "all repositories together"
        yield table_row(gate.value, record.verdict.value, at, ran)
    yield ""
    failing = report.run.failing
    for one in failing:
        before = " (as before the run)" if one.as_before else ""
        yield f"- fails{before}: {code(one.command)}: {safe(one.reason)}"
    if failing:
        yield ""


def _tasks(report: RunReport) -> Iterable[str]:
    if not report.stories:
        return
    yield from ("## Tasks", "", "| task | title | state | attempts | cost | merged as |", "| --- " * 6 + "|")
    spent = {row.name: row for row in report.spending.by_task}
    for story in report.stories:
        task = story.known.task
        row = spent.get(str(task.id))
        paid = cost(row.usd, row.unknown) if row else "-"
        as_ = code(story.merged_as[:10]) if story.merged_as else ""
        yield table_row(safe(task.id), safe(task.title), story.word, str(len(story.attempts)), paid, as_)
    yield from ("", "```mermaid", *plan_lines(report.stories), "```", "")
    for story in report.stories:
        for attempt in story.attempts:
            if attempt.evidence:
                yield f"<details><summary>{safe(str(story.known.task.id))}, attempt {attempt.number}: what failed</summary>"
                yield from ("", *fenced(clean(attempt.evidence)[-_OUTPUT_CHARS:], ""), "", "</details>", "")


def finding_lines(report: RunReport) -> Iterable[str]:
    if not report.findings:
        return
    yield from ("## Findings", "", "| finding | what | where | severity | became |", "| --- " * 5 + "|")
    for life in report.findings:
        finding = life.known.finding
        became = " → ".join(f"{step.what} (round {step.round})" for step in life.steps) or life.known.status.value
        by = "".join(f", by {safe(task)}" for task, _ in life.fixed_by)
        where = code(life.place) if life.place else ""
        yield table_row(life.id, safe(finding.title), where, in_words(finding.severity.value), became + by)
    yield ""


def spending_lines(heading: str, rows: Iterable[SpentRow]) -> Iterable[str]:
    yield from (f"## Cost by {heading}", "", f"| {heading} | agents | input | cached | output | cost |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        paid = "unknown" if row.usd is None else cost(row.usd, row.unknown)
        figures = (tokens(row.usage.input_tokens), share(row.cached_share), tokens(row.usage.output_tokens), paid)
        yield table_row(safe(row.name), str(row.agents), *figures)
    yield ""


def _widths(report: RunReport) -> Iterable[str]:
    own = report.replay.own
    if own is None:
        return
    yield from ("## What other widths would have meant", "", "| threads | time |", "| ---: | ---: |")
    for width in report.replay.widths:
        yield table_row(f"{width.threads}{' (now)' if width.is_own else ''}", duration(width.seconds))
    yield ""


def _stalls(report: RunReport) -> Iterable[str]:
    for lane, bar in report.timeline.stalls[:10]:
        yield f"- stall: {safe(lane.name)}, nothing for {duration(bar.seconds)} from {duration(bar.start_seconds)} on"
    if report.timeline.stalls:
        yield ""


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def safe(text: str, *, most_chars: int = _SHORT_CHARS) -> str:
    """Return a foreign text as one line in which nothing is Markdown, HTML or the name of a person to notify."""
    line = clean_line(" ".join(text.split()))
    short = line if len(line) <= most_chars else f"{line[: most_chars - 1]}…"
    shown = _SPECIAL.sub(r"\\\1", short).replace("\\@", "@\u2060").replace("\\&", "&amp;").replace("\\<", "&lt;")
    # an address is no link and a number no reference, whatever reads the result
    shown = shown.replace("\\#", "#\u2060").replace("://", ":\u2060//")
    return _WWW.sub("www\u2060.", shown)


def code(text: str) -> str:
    """Return a foreign text as code: the fence is longer than any in it, and no bar ends a table's cell."""
    line = clean_line(" ".join(text.split()))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")


def fenced(text: str, language: str) -> list[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}{language}", text, fence]
