"""The last screen: result, tasks, gates, findings, branch, cost, wall time, and what to type next."""

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from codexteam.adapters.terminal.ragged import Ragged
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
from codexteam.report.board import AgentRow, Board
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
    result.append_text(foreign(board.reason, style="none"))
    console.print(result)
    for part in _parts(board, wrap=console.is_terminal):
        if isinstance(part, Text):
            console.print(part, soft_wrap=not console.is_terminal)
        else:
            console.print(Ragged(part))
    console.print(Text(f"files   {folder}"), soft_wrap=True)
    for line in next_commands(board):
        console.print(Text("next    ").append(line, style="bold"), soft_wrap=True)


def _parts(board: Board, *, wrap: bool) -> Iterable[RenderableType]:
    done = sum(task.status == "merged" for task in board.tasks.values())
    counted = [task for task in board.tasks.values() if task.status != "dropped"]
    yield Text(f"tasks   {done} of {len(counted)} merged")
    for task in counted:
        if task.status != "merged":
            reason = f": {task.reason}" if task.reason else ""
            yield foreign(f"        {task.id} {task.status}: {task.title}{reason}")
    if board.gates:
        verdicts = ", ".join(f"{gate.name} {gate.state}" for gate in board.gates.values())
        yield _labelled("gates", foreign(verdicts), wrap=wrap)
    yield from _findings(board)
    for item, question in board.waiting.items():
        yield _labelled("waits", foreign(f"{item}: {question}", style="yellow"), wrap=wrap)
    if board.branch:
        yield foreign(f"branch  {board.branch} at {board.commit[:12]}")
    yield Text(f"time    {elapsed(board.now_seconds - board.started_at_seconds)}")
    yield Text(f"cost    {money(board.usd)}, {usage_words(board.usage)}")
    if unknown := unknown_words(board.unknown):
        yield Text(f"        {unknown}", style="yellow")
    if board.agents:
        yield _costs(board)


def _labelled(label: str, text: Text, *, wrap: bool) -> RenderableType:
    """Put a word before a text whose further lines stay right of it; where nothing wraps it has none."""
    if not wrap:
        return Text(label.ljust(8)).append_text(text)
    line = Table.grid()
    line.add_column(width=8)
    line.add_column(overflow="fold")
    line.add_row(label, text)
    return line


def _findings(board: Board) -> Iterable[RenderableType]:
    counts: dict[str, int] = {}
    for finding in board.findings.values():
        counts[finding.status] = counts.get(finding.status, 0) + 1
    if counts:
        yield Text("finds   " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    for finding in board.findings.values():
        if finding.status == "open":
            yield foreign(f"        {finding.id} {finding.severity}: {finding.title} {finding.place}", style="red")


def _costs(board: Board) -> Table:
    """Give the cost by role and model."""
    groups: dict[tuple[str, str], list[AgentRow]] = {}
    for agent in board.agents.values():
        groups.setdefault((agent.role, agent.model), []).append(agent)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("        role", "model"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    more = board.unknown.tokens
    for name in ("agents", "input", "cached", "output", *(["at most more"] if more else []), "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for (role, model), agents in sorted(groups.items()):
        usage = sum((agent.usage for agent in agents), Usage())
        costs = [agent.usd for agent in agents]
        usd = None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs)
        unknown = sum((agent.unknown.bound for agent in agents), Bound())
        shown = "unknown" if usd is None else cost(usd, unknown)
        counts = [
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            *([unknown.tokens] if more else []),
        ]
        table.add_row(foreign(f"        {role}"), foreign(model), str(len(agents)), *map(tokens, counts), shown)
    return table


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
