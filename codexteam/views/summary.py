"""The last screen: result, tasks, gates, findings, branch, cost, time at work, and what to type next."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import GateName
from codexteam.report.progress import Progress, ending_words
from codexteam.report.rows import AgentRow, GateRow
from codexteam.report.spent import Bound
from codexteam.views.formatting import (
    after_not_green,
    cost,
    credit_count,
    elapsed,
    forecast_words,
    foreign,
    next_answers,
    priced_words,
    tokens,
    unknown_words,
    usage_words,
    worth,
)
from codexteam.views.layout import GLUE, columns, print_wrapped, width_of

_COLOURS = {
    "green": "green",
    "answered": "green",
    "not_green": "red",
    "limit": "yellow",
    "waiting": "yellow",
    "interrupted": "yellow",
}
_NAMES = {
    "green": "green",
    "not_green": "not green",
    "limit": "stopped at a limit",
    "waiting": "waits for you",
    "landing_failed": "the branch could not be written",
    "interrupted": "interrupted",
    "answered": "answered",
    "cannot_run": "nothing can check the work",
}


def result_words(result: str) -> str:
    """Return how a session ended, as people read it."""
    return _NAMES.get(result, result or "ended")


def result_colour(result: str) -> str:
    return _COLOURS.get(result, "red")


def print_summary(
    console: Console, progress: Progress, *, folder: str, report: str = "", place: Path | None = None
) -> None:
    """Print how a session ended.

    `folder` is where the run's files are, `report` its report where there is one, `place` its repository where that
    is not where the user stands.
    """
    name = result_words(progress.result)
    waits = progress.result == "waiting" and progress.waiting
    # the reason would say once more that something waits
    words = foreign(ending_words(name, ", ".join(progress.waiting) if waits else progress.reason), style="none")
    result = Text(name, style=f"bold {result_colour(progress.result)}").append_text(words[len(name) :])
    if progress.waived:
        result.stylize("yellow", len(name))
    print_wrapped(console, result, indent=0)
    for part in _parts(progress):
        print_wrapped(console, part)
    if progress.agents:
        for line in cost_lines(progress, console.width if console.is_terminal else None):
            console.print(line, soft_wrap=True)
    if report:
        console.print(Text(f"report  {report}"), soft_wrap=True)
    console.print(Text(f"files   {folder}"), soft_wrap=True)
    for typed in next_commands(progress):
        program, _, rest = typed.partition(" ")
        command = typed if place is None else f"{program} -C {shlex.quote(str(place))} {rest}"
        console.print(Text("next    ").append(command, style="bold"), soft_wrap=True)


def _parts(progress: Progress) -> Iterable[Text]:
    if progress.answer:
        yield Text()
        for line in progress.answer.strip().splitlines():
            yield foreign(line)
        yield Text()
    yield from _tasks(progress)
    yield from judged_lines(progress)
    yield from _findings(progress)
    yield from _left_behind(progress)
    yield from spent_lines(progress)


def judged_lines(progress: Progress) -> Iterable[Text]:
    """Yield what the gates said, and what their commands returned."""
    if progress.gates:
        yield foreign("gates   " + ", ".join(map(_verdict, progress.gates.values())))
    for gate in progress.gates.values():
        yield from _ran(gate)
    yield from _base(progress)
    for failing in progress.failing:
        style = "yellow" if failing.as_before else "red"
        yield foreign(f"fails   `{failing.command}`: {failing.reason}", style=style)


def spent_lines(progress: Progress) -> Iterable[Text]:
    """Yield what else changed meanwhile, and what it all took."""
    if progress.checkout:
        yield foreign(f"yours   {progress.checkout}", style="yellow")
    yield Text(f"time    {elapsed(progress.worked_seconds(progress.now_seconds))}")
    yield Text(f"cost    {worth(progress.usd, progress.credits)}, {usage_words(progress.usage)}")
    plan = progress.plan
    for said in filter(None, (priced_words(progress), forecast_words(progress), plan.windows, plan.credits)):
        yield foreign(f"        {said}")
    if unknown := unknown_words(progress.unknown):
        yield Text(f"        {unknown}", style="yellow")


def _left_behind(progress: Progress) -> Iterable[Text]:
    """Yield what a run leaves beside its verdicts: risks, what waits, and where its work is."""
    for number, risk in enumerate(progress.risks):
        yield foreign(f"{'risks   ' if number == 0 else '        '}{risk}")
    if progress.documentation:
        yield foreign(f"docs    not written: {progress.documentation}", style="yellow")
    for item, question in progress.waiting.items():
        first, *others = question.strip().splitlines() or [""]
        yield foreign(f"waits   {item}: {first}", style="yellow")
        for line in filter(None, map(str.strip, others)):
            yield foreign(f"        {line}", style="yellow")
    if progress.branch:
        where = f"in {', '.join(progress.repositories)}" if progress.repositories else f"at {progress.commit[:12]}"
        yield foreign(f"branch  {progress.branch} {where}")
    if progress.release_notes:
        yield foreign(f"notes   {progress.release_notes}")


def _verdict(gate: GateRow) -> str:
    confidence = f"{GLUE}({gate.confidence}{GLUE}confidence)" if gate.confidence else ""
    return f"{gate.name}{GLUE}{gate.state}{confidence}"


def _ran(gate: GateRow) -> Iterable[Text]:
    """Yield the commands of a gate: ci_runner's as observed, QA's as its agent reports them."""
    said = "ran     " if gate.name == GateName.CI else "qa ran  "
    for row in gate.commands:
        word = "passed" if row.ok else "failed"
        yield foreign(f"{said}`{row.command}` {word}: {row.how}", style="none" if row.ok else "yellow")


def _tasks(progress: Progress) -> Iterable[Text]:
    if not progress.tasks and progress.answer:
        return
    done = sum(task.status == "merged" for task in progress.tasks.values())
    counted = [task for task in progress.tasks.values() if task.status != "dropped"]
    yield Text(f"tasks   {done} of {len(counted)} merged")
    for task in counted:
        if task.status != "merged":
            # what ended the run is said above, not once more for each task
            reason = f": {task.reason}" if task.reason not in {"", progress.reason} else ""
            yield foreign(f"        {task.id} {task.status}: {task.title}{reason}")
    for task in counted:
        if task.status == "merged" and task.untested:
            yield foreign(f"        {task.id} is untested: {task.untested}", style="yellow")


#: Of a command that cannot run, the last lines that are shown.
_LAST_LINES = 8
#: Of one that failed before the run.
_LINES_BEFORE = 3


def _last_lines(output: str, most: int) -> Iterable[Text]:
    for line in [line for line in output.splitlines() if line.strip()][-most:]:
        yield foreign(f"        | {line}", style="dim")


def _base(progress: Progress) -> Iterable[Text]:
    for row in progress.failed_before:
        yield foreign(f"before  `{row.command}` failed before the run: {row.words}", style="yellow")
        yield from _last_lines(row.output, _LINES_BEFORE)
    for row in progress.unrunnable:
        yield foreign(f"cannot  `{row.command}`: {row.reason}", style="red")
        yield from _last_lines(row.output, _LAST_LINES)
        if row.made_from:
            yield foreign(f"        its sandbox was made from {row.made_from}")
        yield foreign(f"        {row.to_do}; then codexteam resume tries again")


def _findings(progress: Progress) -> Iterable[Text]:
    counts: dict[str, int] = {}
    for finding in progress.findings.values():
        counts[finding.status] = counts.get(finding.status, 0) + 1
    if counts:
        yield Text("finds   " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    for finding in progress.findings.values():
        if finding.status in {"open", "waived"}:
            style, word = ("red", finding.severity) if finding.status == "open" else ("yellow", "waived")
            yield foreign(f"        {finding.id} {word}: {finding.title} {finding.place}", style=style)


#: What calls of unknown usage may have been billed; a column only where there were some.
_AT_MOST = "at most more"
_COSTS = ("role", "model", "agents", "input", "cached", "output", _AT_MOST, "credits", "cost")
#: Left out one after the other where all have no room; a number that is cut would be a wrong one.
_SPARED = ("agents", "credits", "cached", "model")
_INDENT = 8


def cost_lines(progress: Progress, width: int | None) -> list[Text]:
    """Return the cost by role and model, as wide as `width` at most where it is given."""
    groups: dict[tuple[str, str], list[AgentRow]] = {}
    for agent in progress.agents.values():
        groups.setdefault((agent.role, agent.model), []).append(agent)
    rows = [[Text(name, style="dim") for name in _COSTS]]
    for (role, model), agents in sorted(groups.items()):
        usage = sum((agent.usage for agent in agents), Usage())
        costs = [agent.usd for agent in agents]
        usd = None if None in costs else sum(each or 0.0 for each in costs)
        unknown = sum((agent.unknown.bound for agent in agents), Bound())
        shown = "unknown" if usd is None else cost(usd, unknown)
        counts = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, unknown.tokens)
        in_credits = sum(agent.credits or 0.0 for agent in agents)
        figures = [
            str(len(agents)),
            *map(tokens, counts),
            credit_count(in_credits),
        ]
        rows.append([foreign(role), foreign(model), *map(Text, [*figures, shown])])
    # a column only where it says something of all
    empty = {_AT_MOST: not progress.unknown.tokens, "credits": not progress.credits}
    names = [name for name in _COSTS if not empty.get(name)]
    left = [name for name in _SPARED if name in names]
    while True:
        lines = columns(
            [[row[_COSTS.index(name)] for name in names] for row in rows],
            right={number for number, name in enumerate(names) if name not in {"role", "model"}},
        )
        if width is None or not left or width_of(lines) + _INDENT <= width:
            return [Text(" " * _INDENT).append_text(line) for line in lines]
        names.remove(left.pop(0))


def next_commands(progress: Progress) -> list[str]:
    """Return the commands that a user would type next."""
    match progress.result:
        case "green" if progress.repositories:
            return ["codexteam diff", "codexteam apply"]
        case "green":
            return [f"git diff HEAD...{progress.branch}", "codexteam apply"] if progress.branch else []
        case "answered":
            return []
        case "waiting":
            return [*next_answers(progress.waiting), "codexteam resume"]
        case "limit":
            return [progress.next_command or "codexteam resume --budget ..."]
        case "interrupted":
            return ["codexteam resume"]
        case "not_green":
            failed = [task.id for task in progress.tasks.values() if task.status == "failed"]
            left = [finding.id for finding in progress.findings.values() if finding.status == "open"]
            return after_not_green(failed, left)
        case _:
            return ["codexteam status", "codexteam resume"]
