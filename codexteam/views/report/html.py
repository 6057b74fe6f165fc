"""The report as one HTML file: no script, no request, every text of models, tools and repositories escaped."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from codexteam import __version__
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean
from codexteam.report.comparison import RunComparison
from codexteam.report.overview import task_word
from codexteam.report.run_report import RunReport
from codexteam.views.formatting import (
    answers_to,
    cost,
    credit_count,
    forecast_words,
    in_words,
    look_at,
    money,
    share,
    tokens,
    unknown_words,
    usage_words,
)
from codexteam.views.report.drawing import (
    LANE_HEIGHT,
    NODE_HEIGHT,
    NODE_WIDTH,
    SAYS_FROM,
    drawn_plan,
    drawn_spending,
    drawn_timeline,
)
from codexteam.views.report.figures import change_words, duration, figure_words, moment
from codexteam.views.report.reproduction import reproduction

_PAGE = "report.html.j2"
#: What a page may take. One that takes more is made again with less of each text, and then with less still.
_MOST_BYTES = 1_900_000
_SCALES = (1.0, 0.4, 0.15, 0.05, 0.02)
#: What all diffs may take, escaped.
_DIFF_BYTES = 700_000
#: Of a text that a template does not cut itself, the beginning is shown.
_ANY_TEXT = 1_000
#: Of one long text, such as a command's output, the end is shown.
_LONG_TEXT = 4_000


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("codexteam.views.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    filters: Mapping[str, Callable[..., object]] = {
        "duration": duration,
        "moment": moment,
        "money": money,
        "tokens": tokens,
        "share": share,
        "credits": credit_count,
        "words": in_words,
        "end": _end,
        "short": _short,
        "diff": _diff,
    }
    found.filters.update(filters)
    return found


class _Fitted(str):
    """A text that was cut to what has room for it."""

    __slots__ = ()


@pass_context
def _harmless(context: Context, value: object) -> object:
    """Cut a text that was not cut yet, and escape what could mislead a reader's eye, such as text that runs backwards."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return clean(value if isinstance(value, _Fitted) else _short(context, value, _ANY_TEXT))


def _scale(context: Context) -> float:
    found = context.get("scale")
    return found if isinstance(found, float) else 1.0


def render_html(report: RunReport) -> str:
    """Return the report as a page."""
    html = ""
    for scale in _SCALES:
        html = _rendered_at(report, scale)
        if len(html.encode("utf-8", "backslashreplace")) <= _MOST_BYTES:
            break
    return html


def load_templates() -> None:
    """Compile a run's page, so that rendering it takes no longer than its content."""
    template(_PAGE)


def template(name: str) -> Template:
    """Return a page's template, in which all text that is put in is escaped."""
    return _templates().get_template(name)


def _rendered_at(report: RunReport, scale: float) -> str:
    run = report.run
    status = {str(task_id): task_word(known, live=run.live) for task_id, known in run.state.tasks.items()}
    return (
        _templates()
        .get_template(_PAGE)
        .render(
            report=report,
            run=run,
            progress=run.progress,
            state=run.state,
            figures=report.figures,
            timeline=drawn_timeline(report.timeline, report.path, says_from=SAYS_FROM / scale),
            scale=scale,
            plan=drawn_plan([known.task for known in run.state.tasks.values()], status, report.planned_path),
            spent=drawn_spending(report.spending.points, report.timeline.seconds, report.spending.limits),
            status=status,
            answers={item: [*look_at(item), *answers_to(item)] for item in run.holds},
            diffs=_shown_diffs(report, int(_DIFF_BYTES * scale)),
            receipts=_by_content(report.receipts),
            reproduce=reproduction(report),
            first_agent=next((lane.name.split()[-1] for lane in report.timeline.lanes if lane.purpose), "AGENT"),
            cost_of=cost,
            forecast=forecast_words(run.progress),
            usage=usage_words,
            unknown=unknown_words,
            lane_height=LANE_HEIGHT,
            node_width=NODE_WIDTH,
            node_height=NODE_HEIGHT,
            version=__version__,
        )
    )


def render_comparison(comparison: RunComparison) -> str:
    """Return two runs side by side as a page."""
    return (
        _templates()
        .get_template("comparison.html.j2")
        .render(found=comparison, figure=figure_words, change=change_words, version=__version__)
    )


def _shown_diffs(report: RunReport, left: int) -> list[tuple[str, str, str, bool]]:
    """Return task, title, diff and whether it is cut; all of them fit into so many escaped characters."""
    found = []
    for task_id, known in report.run.state.tasks.items():
        diff = report.diffs.get(str(task_id))
        if diff is None:
            continue
        text = clean(diff.text)
        while len(escape(text)) > left:
            text = text[: text.rfind("\n", 0, len(text) // 2) + 1]
        left -= len(escape(text))
        found.append((str(task_id), known.task.title, text, diff.cut or len(text) < len(diff.text)))
    return found


def _by_content(receipts: Mapping[str, JSONObject]) -> list[tuple[str, list[str], str]]:
    """Return each distinct receipt once, with the agents that were started with it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, receipt in receipts.items():
        same = {key: value for key, value in receipt.items() if key not in {"agent", "started_sandbox"}}
        text = json.dumps(same, indent=1, sort_keys=True)
        agent = receipt.get("agent")
        found.setdefault((name.partition("/")[0], text), []).append(agent if isinstance(agent, str) else name)
    return [(role, agents, text) for (role, text), agents in found.items()]


@pass_context
def _end(context: Context, text: str, most: int = _LONG_TEXT) -> _Fitted:
    """Return the end of a long text, where tests say what failed."""
    room = max(40, int(most * _scale(context)))
    return _Fitted(text if len(text) <= room else f"[{len(text) - room} characters left out]\n{text[-room:]}")


@pass_context
def _short(context: Context, text: str, most: int = 300) -> _Fitted:
    room = max(40, int(most * _scale(context)))
    return _Fitted(text if len(text) <= room else f"{text[: room - 1]}…")


def _diff(text: str) -> Markup:
    """Mark what was added and taken away; lines of one kind are marked together."""
    return Markup("").join(_marked(text.splitlines(keepends=True)))


def _marked(lines: Iterable[str]) -> Iterable[Markup]:
    kind, block = "", list[str]()
    for line in lines:
        found = _kind_of(line)
        if found != kind and block:
            yield _block(kind, block)
            block = []
        kind = found
        block.append(line)
    if block:
        yield _block(kind, block)


def _kind_of(line: str) -> str:
    if line.startswith(("diff --git ", "index ", "--- ", "+++ ", "new file", "deleted file", "rename ", "similarity ")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "")


def _block(kind: str, lines: list[str]) -> Markup:
    text = "".join(lines)
    return Markup('<span class="{}">{}</span>').format(kind, text) if kind else escape(text)
