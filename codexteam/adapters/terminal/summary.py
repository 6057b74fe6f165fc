"""The last screen: result, tasks, gates, findings, branch, cost, time at work, and what to type next."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from codexteam.adapters.terminal.layout import GLUE, columns, print_wrapped, width_of
from codexteam.adapters.terminal.words import (
    cost,
    elapsed,
    foreign,
    money,
    next_answers,
    tokens,
    unknown_words,
    usage_words,
)
from codexteam.core.usage import Usage
from codexteam.report.board import Board
from codexteam.report.rows import AgentRow
from codexteam.report.unknown_bills import Bound

_COLOURS = {"green": "green", "not_green": "red", "limit": "yellow", "waiting": "yellow", "interrupted": "yellow"}
_NAMES = {
    "green": "green",
    "not_green": "not green",
    "limit": "stopped at a limit",
    "waiting": "waits for you",
    "landing_failed": "the branch could not be written",
    "interrupted": "interrupted",
}


def print_summary(console: Console, board: Board, *, folder: str) -> None:
    """Print how a sitting ended. `folder` is where the run's files are."""
    result = Text(_NAMES.get(board.result, board.result or "ended"), style=f"bold {_COLOURS.get(board.result, 'red')}")
    result.append(": ")
    waits = board.result == "waiting" and board.waiting
    # the reason would say once more that something waits
    result.append_text(foreign(", ".join(board.waiting) if waits else board.reason, style="none"))
    print_wrapped(console, result, indent=0)
    for part in _parts(board):
        print_wrapped(console, part)
    if board.agents:
        for line in _costs(board, console.width if console.is_terminal else None):
            console.print(line, soft_wrap=True)
    console.print(Text(f"files   {folder}"), soft_wrap=True)
    for command in next_commands(board):
        console.print(Text("next    ").append(command, style="bold"), soft_wrap=True)


def _parts(board: Board) -> Iterable[Text]:
    done = sum(task.status == "merged" for task in board.tasks.values())
    counted = [task for task in board.tasks.values() if task.status != "dropped"]
    yield Text(f"tasks   {done} of {len(counted)} merged")
    for task in counted:
        if task.status != "merged":
            # what ended the run is said above, not once more for each task
            reason = f": {task.reason}" if task.reason not in {"", board.reason} else ""
            yield foreign(f"        {task.id} {task.status}: {task.title}{reason}")
    if board.gates:
        yield foreign("gates   " + ", ".join(f"{gate.name}{GLUE}{gate.state}" for gate in board.gates.values()))
    yield from _findings(board)
    for item, question in board.waiting.items():
        yield foreign(f"waits   {item}: {question}", style="yellow")
    if board.branch:
        yield foreign(f"branch  {board.branch} at {board.commit[:12]}")
    yield Text(f"time    {elapsed(board.worked_seconds(board.now_seconds))}")
    yield Text(f"cost    {money(board.usd)}, {usage_words(board.usage)}")
    if unknown := unknown_words(board.unknown):
        yield Text(f"        {unknown}", style="yellow")


def _findings(board: Board) -> Iterable[Text]:
    counts: dict[str, int] = {}
    for finding in board.findings.values():
        counts[finding.status] = counts.get(finding.status, 0) + 1
    if counts:
        yield Text("finds   " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    for finding in board.findings.values():
        if finding.status == "open":
            yield foreign(f"        {finding.id} {finding.severity}: {finding.title} {finding.place}", style="red")


#: What calls of unknown usage may have been billed; a column only where there were some.
_AT_MOST = "at most more"
_COSTS = ("role", "model", "agents", "input", "cached", "output", _AT_MOST, "cost")
#: Left out one after the other where all have no room; a number that is cut would be a wrong one.
_SPARED = ("agents", "cached", "model")
_INDENT = 8


def _costs(board: Board, width: int | None) -> list[Text]:
    """Give the cost by role and model, as wide as `width` at most where it is given."""
    groups: dict[tuple[str, str], list[AgentRow]] = {}
    for agent in board.agents.values():
        groups.setdefault((agent.role, agent.model), []).append(agent)
    rows = [[Text(name, style="dim") for name in _COSTS]]
    for (role, model), agents in sorted(groups.items()):
        usage = sum((agent.usage for agent in agents), Usage())
        costs = [agent.usd for agent in agents]
        usd = None if None in costs else sum(each or 0.0 for each in costs)
        unknown = sum((agent.unknown.bound for agent in agents), Bound())
        shown = "unknown" if usd is None else cost(usd, unknown)
        counts = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, unknown.tokens)
        rows.append([foreign(role), foreign(model), *map(Text, [str(len(agents)), *map(tokens, counts), shown])])
    names = [name for name in _COSTS if name != _AT_MOST or board.unknown.tokens]
    left = [name for name in _SPARED if name in names]
    while True:
        lines = columns(
            [[row[_COSTS.index(name)] for name in names] for row in rows],
            right={number for number, name in enumerate(names) if name not in {"role", "model"}},
        )
        if width is None or not left or width_of(lines) + _INDENT <= width:
            return [Text(" " * _INDENT).append_text(line) for line in lines]
        names.remove(left.pop(0))


def next_commands(board: Board) -> list[str]:
    """Give what a user would type next."""
    match board.result:
        case "green":
            return [f"git diff HEAD...{board.branch}", "codexteam apply"] if board.branch else []
        case "waiting":
            return [*next_answers(board.waiting), "codexteam resume"]
        case "limit":
            return ["codexteam resume --budget ..."]
        case "interrupted":
            return ["codexteam resume"]
        case _:
            return ["codexteam status", "codexteam resume"]
