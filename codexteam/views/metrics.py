"""What `metrics` prints: a screen, JSON Lines, or Prometheus' text format."""

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.text import Text

from codexteam.core.text import count_of
from codexteam.report.metrics import HeldForecast, KnownSum, RunMetrics
from codexteam.views.formatting import credit_count, foreign, in_words, money, share, tokens
from codexteam.views.layout import columns
from codexteam.views.report.figures import duration
from codexteam.views.streams import OutputStreams


def show_metrics(output: OutputStreams, found: RunMetrics, *, prometheus: bool) -> None:
    """Print the metrics."""
    if output.json_lines:
        output.records([found.as_json()], "metrics.completed")
    elif prometheus:
        output.write(prometheus_text(found))
    elif not found.runs:
        output.note("there are no runs here" + (" since then" if found.since_seconds is not None else " yet"))
    else:
        _print(output.console(), found)
    for run_id in found.unreadable:
        output.note(f"run {run_id} cannot be read, and is in no figure; codexteam runs says why")


def _print(console: Console, found: RunMetrics) -> None:
    for name, words in _lines(found):
        console.print(foreign(f"{name:12}  {words}"), soft_wrap=True)
    rows = [[Text(name, style="dim") for name in ("role", "agents", "median", "95 %")]]
    rows += [
        [foreign(one.role), *map(Text, (str(one.agents), duration(one.median_seconds), duration(one.p95_seconds)))]
        for one in found.latencies
    ]
    if found.latencies:
        console.print(Text("latency", style="dim"))
        for line in columns(rows, right={1, 2, 3}):
            console.print(Text("  ").append_text(line), soft_wrap=True)


def _lines(found: RunMetrics) -> Iterable[tuple[str, str]]:
    states = ", ".join(f"{count} {in_words(state)}" for state, count in found.by_state)
    yield "runs", f"{found.runs}: {states}; {duration(found.work_seconds)} at work"
    yield "tasks", f"{found.merged} merged, {found.failed} failed, of {found.tasks}"
    per_task = "-" if found.attempts_per_task is None else f"{found.attempts_per_task:.2f}"
    yield "attempts", f"{found.attempts}, {per_task} a task; merged at the first try: {share(found.first_try_rate)}"
    if (several := found.best_of).tasks:
        took = f"{money(several.usd)}, {tokens(several.tokens)}"
        yield (
            "best of n",
            f"{count_of(several.tasks, 'task')}, {several.merged} merged: paid in {several.paid}, maybe in {several.sooner} "
            f"(the first was not done); what was not taken, QA and judges: {took}",
        )
    if found.merged_per_hour is not None:
        yield "throughput", f"{found.merged_per_hour:.1f} tasks merged in an hour at work"
    yield (
        "tokens",
        f"{_sum_words(found.tokens, lambda n: tokens(int(n)))}; {share(found.cached_share)} of the input cached",
    )
    yield "cost", _sum_words(found.usd, money)
    if found.credits.total:
        yield "credits", _sum_words(found.credits, credit_count)
    yield (
        "gates",
        f"{count_of(found.rounds, 'round')}, {count_of(found.findings, 'finding')}, "
        f"{count_of(found.regressions, 'regression')} caught, {count_of(found.conflicts, 'conflict')}",
    )
    yield (
        "failures",
        f"{found.infrastructure_failures} of services, sandboxes or sessions; {count_of(found.stalls, 'stall')}",
    )
    held = found.forecast_usd if found.forecast_usd.ratio is not None else found.forecast_tokens
    if held.ratio is not None:
        yield "forecast", f"{held.ratio:.1f} times what was expected was spent, in {count_of(held.runs, 'run')}"


def _sum_words(found: KnownSum, words: Callable[[float], str]) -> str:
    parts = [words(found.total)]
    if found.per_task is not None:
        parts.append(f"{words(found.per_task)} a task")
    if found.per_merged is not None:
        parts.append(f"{words(found.per_merged)} a merged task")
    if found.unknown_runs:
        parts.append(f"without {count_of(found.unknown_runs, 'run')} of which it is not known")
    return ", ".join(parts)


def prometheus_text(found: RunMetrics) -> str:
    """Return the metrics as Prometheus reads them from a text file; what is unknown is left out, never 0."""
    lines: list[str] = []

    def gauge(name: str, words: str, samples: Iterable[tuple[str, float | None]]) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.append(f"# HELP codexteam_{name} {words}")
            lines.append(f"# TYPE codexteam_{name} gauge")
            lines.extend(f"codexteam_{name}{labels} {float(value)!r}" for labels, value in known)

    gauge("runs", "Runs by state.", [(_label("state", state), count) for state, count in found.by_state])
    gauge("work_seconds", "Time at work.", [("", found.work_seconds)])
    done = (("merged", found.merged), ("failed", found.failed), ("all", found.tasks))
    gauge("tasks", "Tasks by what became of them.", [(_label("outcome", name), count) for name, count in done])
    gauge("attempts", "Attempts at tasks.", [("", found.attempts)])
    gauge("attempts_per_task", "Attempts for each task that was tried.", [("", found.attempts_per_task)])
    gauge("first_try_ratio", "Merged tasks that needed one attempt.", [("", found.first_try_rate)])
    several = found.best_of
    outcomes = (("all", several.tasks), ("merged", several.merged), ("paid", several.paid), ("sooner", several.sooner))
    tried = [(_label("outcome", name), count) for name, count in outcomes] if several.tasks else []
    gauge("best_of_tasks", "Tasks at which several attempts were made at once.", tried)
    gauge("best_of_extra_usd", "Cost of what was not taken of these.", [("", several.usd)] if several.tasks else [])
    gauge("merged_per_hour", "Tasks merged in an hour at work.", [("", found.merged_per_hour)])
    for name, summed in (("tokens", found.tokens), ("usd", found.usd), ("credits", found.credits)):
        gauge(name, f"Spent in {name}, in the runs that know it.", [("", summed.total)])
        gauge(f"{name}_per_task", f"Spent in {name} for each task.", [("", summed.per_task)])
        gauge(f"{name}_per_merged_task", f"Spent in {name} for each merged task.", [("", summed.per_merged)])
        gauge(f"{name}_unknown_runs", f"Runs whose {name} are not known.", [("", summed.unknown_runs)])
    gauge("cached_input_ratio", "Part of the input tokens that was cached.", [("", found.cached_share)])
    gauge(
        "agent_seconds",
        "How long agents took, by role.",
        [
            (_label("role", one.role, quantile=quantile), value)
            for one in found.latencies
            for quantile, value in (("0.5", one.median_seconds), ("0.95", one.p95_seconds))
        ],
    )
    gauge("gate_rounds", "Rounds of gates.", [("", found.rounds)])
    gauge("regressions_caught", "Commands that a gate saw fail and that passed before.", [("", found.regressions)])
    gauge("findings", "Findings.", [("", found.findings)])
    gauge("conflicts", "Merges that conflicted.", [("", found.conflicts)])
    gauge(
        "infrastructure_failures", "Failures of services, sandboxes or sessions.", [("", found.infrastructure_failures)]
    )
    gauge("stalls", "Agents that were silent for too long.", [("", found.stalls)])
    gauge("forecast_ratio", "Spent over what forecasts expected.", list(_forecasts(found)))
    return "\n".join(lines) + "\n" if lines else ""


def _forecasts(found: RunMetrics) -> Iterable[tuple[str, float | None]]:
    held: tuple[tuple[str, HeldForecast], ...] = (("usd", found.forecast_usd), ("tokens", found.forecast_tokens))
    return [(_label("unit", unit), one.ratio) for unit, one in held]


def _label(name: str, value: str, **more: str) -> str:
    pairs = {name: value, **more}
    return "{" + ",".join(f'{key}="{_escaped(text)}"' for key, text in pairs.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
