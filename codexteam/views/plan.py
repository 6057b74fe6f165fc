"""What `codexteam plan` prints: waves, scopes, roles and models, and a forecast."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from codexteam.app.plan_preview import PlanPreview
from codexteam.core.codec import encode
from codexteam.core.forecast import Cost, Range
from codexteam.core.ids import JSONObject
from codexteam.core.plan_graph import waves
from codexteam.core.text import count_of
from codexteam.report.progress import Progress
from codexteam.views.formatting import foreign, money, tokens, usage_words, worth
from codexteam.views.layout import print_wrapped


def plan_json(plan: PlanPreview) -> JSONObject:
    """Return a plan and its forecast for programs."""
    return {
        "tasks": [encode(task) for task in plan.tasks],
        "waves": [[str(task_id) for task_id in wave] for wave in waves(plan.tasks)],
        "models": dict(plan.models),
        "changes": list(plan.changes),
        "forecast": encode(plan.forecast),
        "over_budget": plan.over_budget,
    }


def print_plan(console: Console, plan: PlanPreview, progress: Progress) -> None:
    """Print a fresh plan, what it cost, and what to type next."""
    by_id = {task.id: task for task in plan.tasks}
    for number, wave in enumerate(waves(plan.tasks), start=1):
        console.print(Text(f"wave {number}", style="bold"))
        for task_id in wave:
            task = by_id[task_id]
            model = plan.models.get(task.role)
            who = f"{task.role}, {model}" if model else task.role
            line = Text(f"  {task.id} ")
            line.append_text(foreign(f"{task.title} ({who}, effort {task.effort})"))
            console.print(line, soft_wrap=True)
            if task.paths:
                console.print(foreign(f"     writes {', '.join(task.paths)}"), soft_wrap=True)
            if task.budget is not None:
                console.print(foreign(f"     budget {task.budget.words}"), soft_wrap=True)
            if task.deps:
                console.print(foreign(f"     after {', '.join(task.deps)}"), soft_wrap=True)
            for accept in task.acceptance:
                shown = f"`{accept.command}`" if accept.command else "judged by a reader"
                console.print(foreign(f"     check {shown} ({accept.criterion})"), soft_wrap=True)
    for number, change in enumerate(plan.changes):
        print_wrapped(console, foreign(f"{'changed' if number == 0 else '       '} {change}", style="yellow"))
    for words in forecast_lines(plan):
        console.print(Text(words), soft_wrap=True)
    if plan.over_budget:
        warning = f"over    the run is expected to need more than its budget: {plan.over_budget}"
        print_wrapped(console, Text(warning, style="yellow"))
    print_wrapped(console, Text(f"spent   {worth(progress.usd, progress.credits)}, {usage_words(progress.usage)}"))
    print_wrapped(console, Text("next    codexteam resume", style="bold"))
    print_wrapped(console, Text("        or edit plan.md first; nothing but plan.md was written to the work tree"))


def forecast_rows(plan: PlanPreview) -> list[list[str]]:
    """Return the cost of each stage and of the whole run, below a row of headings."""
    seen = plan.forecast
    stages = [[stage.value, *_cells(cost, whole=False)] for stage, cost in seen.stages.items()]
    whole = Cost(seen.tokens, seen.usd, seen.credits)
    return [["forecast", "tokens", "cost", "credits", "rests on"], *stages, ["whole run", *_cells(whole, whole=True)]]


def forecast_lines(plan: PlanPreview) -> list[str]:
    """Render a forecast: the shape of the plan, the cost of each stage, and what the figures rest on."""
    seen = plan.forecast
    chain = " -> ".join(seen.critical_path)
    rows = forecast_rows(plan)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [
        f"parallel: up to {count_of(seen.width, 'agent')}, {count_of(seen.depth, 'wave')}",
        f"longest chain: {chain}",
        *lines,
        f"        {rests_on(plan)}",
        *([f"        price unknown of {', '.join(plan.unpriced)}: set [codexteam.prices]"] if plan.unpriced else []),
    ]


def rests_on(plan: PlanPreview) -> str:
    """Say what a forecast's figures rest on."""
    runs = plan.forecast.history_runs
    if not runs:
        return "no run was merged here yet: assumptions, expected to worst case"
    return f"from {count_of(runs, 'earlier run')} here, expected to worst case"


def _cells(cost: Cost, *, whole: bool) -> list[str]:
    rests = "" if whole else "spent" if cost.spent else count_of(cost.runs, "run") if cost.runs else "assumption"
    return [
        _span(cost.tokens, lambda value: tokens(int(value)), "unknown"),
        _span(cost.usd, money, "price unknown"),
        _span(cost.credits, lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}", "unknown"),
        rests,
    ]


def _span(found: Range, shown: Callable[[float], str], unknown: str) -> str:
    if found.expected is None or found.worst is None:
        return unknown
    if found.expected == found.worst:
        return shown(found.expected)
    return f"{shown(found.expected)} to {shown(found.worst)}"
