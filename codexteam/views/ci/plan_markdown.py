"""A plan and its forecast in Markdown: for the summary beside a job, and for a pull request's comment."""

from collections.abc import Iterable

from codexteam.app.plan_preview import PlanPreview
from codexteam.core.plan_graph import Task
from codexteam.core.text import count_of
from codexteam.report.pipeline_outcome import PipelineOutcome
from codexteam.report.progress import Progress
from codexteam.views.formatting import worth
from codexteam.views.plan import forecast_rows, rests_on
from codexteam.views.report.markdown import code, safe, table_row

#: Tasks that are shown; a comment has a limit, and nobody reads more.
_MOST_TASKS = 100
_GOAL_CHARS = 500


def render_plan_markdown(plan: PlanPreview, progress: Progress, outcome: PipelineOutcome) -> str:
    """Return the plan, the forecast, and how that stands to the limit."""
    return "\n".join(_lines(plan, progress, outcome)).rstrip() + "\n"


def _lines(plan: PlanPreview, progress: Progress, outcome: PipelineOutcome) -> Iterable[str]:
    yield from (f"# Plan: {safe(progress.goal, most_chars=_GOAL_CHARS)}", "")
    if outcome.over_limits:
        yield f"**Over the limit**: {safe(outcome.over_limits)}."
    elif outcome.budget:
        yield f"Within the limit of {safe(outcome.budget)}."
    else:
        yield "No limit was given."
    seen = plan.forecast
    shape = f"up to {count_of(seen.width, 'agent')} in parallel, {count_of(seen.depth, 'wave')}"
    yield from ("", f"{count_of(len(plan.tasks), 'task')}, {shape}:", "")
    yield from ("| task | title | who | effort | after | writes |", "| --- " * 6 + "|")
    yield from (_row(task, plan) for task in plan.tasks[:_MOST_TASKS])
    if len(plan.tasks) > _MOST_TASKS:
        yield from ("", f"{len(plan.tasks) - _MOST_TASKS} more are in plan.md.")
    heading, *rows = forecast_rows(plan)
    yield from ("", "## Forecast", "", table_row("stage", *heading[1:]), "| --- | ---: | ---: | ---: | --- |")
    yield from (table_row(*map(safe, row)) for row in rows)
    yield from ("", f"The figures rest on: {rests_on(plan)}.")
    if plan.unpriced:
        yield f"Price unknown of {', '.join(map(code, plan.unpriced))}."
    yield from ("", f"Planning cost {worth(progress.usd, progress.credits)}; run {code(outcome.run_id)}.")


def _row(task: Task, plan: PlanPreview) -> str:
    model = plan.models.get(task.role)
    who = f"{safe(task.role)} ({code(model)})" if model else safe(task.role)
    writes = ", ".join(map(code, task.paths))
    return table_row(safe(task.id), safe(task.title), who, str(task.effort), ", ".join(map(safe, task.deps)), writes)
