"""The live view: what waits for a person first, then agents, gates, findings, and the last events."""

from collections.abc import Callable

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from codexteam.adapters.terminal.layout import GLUE, wrapped
from codexteam.adapters.terminal.words import answers_to, cost, elapsed, foreign, share, token_span
from codexteam.ports.reporter import RunEvent
from codexteam.report.board import Board, retry_words
from codexteam.report.rows import AgentRow, TaskRow

#: How often the view is drawn anew at most; ages move, so it is also drawn when nothing happens.
DRAWS_PER_SECOND = 4

_STATES = {"ship": "green", "block": "red", "unanswered": "yellow", "running": "cyan"}


class LiveView:
    """The Reporter on a terminal. The screen below the cursor is its own until it is closed."""

    def __init__(self, console: Console, board: Board, now: Callable[[], float]) -> None:
        """Begin to draw `board`, which others fill; `now` gives seconds since 1970."""
        self._board = board
        self._view = BoardView(board, now)
        self._live = Live(self._view, console=console, refresh_per_second=DRAWS_PER_SECOND, transient=True)
        self._live.start()

    def report(self, event: RunEvent) -> None:
        """Follow an event; the next drawing shows it."""
        self._board.take(event)

    def close(self) -> None:
        """Stop drawing and leave the terminal as it was."""
        self._live.stop()


class BoardView:
    """A board as rich draws it, for any width and height."""

    def __init__(self, board: Board, now: Callable[[], float]) -> None:
        """Draw `board` as it is whenever it is drawn."""
        self._board = board
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the parts from top to bottom, what matters most first."""
        yield self.render(options.max_width, options.max_height)

    def render(self, width: int, height: int) -> RenderableType:
        """Lay the board out."""
        board = self._board
        facts = self._facts(width)
        parts: list[RenderableType] = [self._title(width), facts]
        kept = [facts]  # of these nothing is cut off
        for item, question in board.waiting.items():
            line = Text("waits for you: ", style="bold yellow")
            line.append_text(foreign(f"{item}: {question}"))
            line.append("\n  ").append_text(foreign(answers_to(item)[0], style="dim"))
            parts.append(line)
        if board.retrying:
            # wrapped: until when it goes on stands at its end
            parts.append(whole := wrapped(foreign(retry_words(board.retrying), style="yellow"), width, 2))
            kept.append(whole)
        at_work = [agent for agent in board.agents.values() if not agent.done]
        room = max(3, height - 14 - 2 * bool(board.retrying) - 2 * len(board.waiting))
        if at_work:
            parts.append(self._agents(at_work[:room], width))
            if len(at_work) > room:
                parts.append(Text(f"  and {len(at_work) - room} more agents at work", style="dim"))
        parts.append(self._tasks())
        if board.gates:
            parts.append(whole := wrapped(self._gates(), width, 7))
            kept.append(whole)
        still_open = [finding for finding in board.findings.values() if finding.status == "open"]
        for finding in still_open[:4]:
            line = Text(f"{finding.id} ", style="red")
            line.append_text(foreign(f"{finding.title} {finding.place}"))
            parts.append(line)
        if len(still_open) > 4:
            parts.append(Text(f"  and {len(still_open) - 4} more open findings", style="dim"))
        for at, words in board.tail[-5:]:
            line = Text(f"{elapsed(at):>7} ", style="dim")
            line.append_text(foreign(words, style="dim"))
            parts.append(line)
        for part in parts:
            if isinstance(part, Text) and not any(part is one for one in kept):
                part.no_wrap, part.overflow = True, "ellipsis"
        return Group(*parts)

    def _title(self, width: int) -> Text:
        title = foreign(self._board.goal, style="bold")
        title.truncate(width, overflow="ellipsis")
        return title

    def _facts(self, width: int) -> Text:
        board = self._board
        usage = board.usage
        spent = f"{cost(board.usd, board.unknown)} {token_span(usage.total_tokens, board.unknown)} tokens"
        facts = [
            elapsed(board.worked_seconds(self._now())),
            f"{spent} of {board.budget}" if board.budget else spent,
            f"{share(board.cached_share)} cached",
            board.phase,
        ]
        # its last words say what the run is at
        glued = [fact.replace(" ", GLUE) for fact in facts]
        return wrapped(Text(f"{GLUE}· ".join(glued), style="cyan"), width, 2)

    def _agents(self, agents: list[AgentRow], width: int) -> RenderableType:
        wide = width >= 100
        table = Table(box=None, padding=(0, 1, 0, 0), expand=True, show_header=True, header_style="dim")
        table.add_column("agent", no_wrap=True, max_width=18 if wide else 14, overflow="ellipsis")
        table.add_column("task", no_wrap=True)
        table.add_column("turn", justify="right", no_wrap=True)
        table.add_column("last action", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("tokens", justify="right", no_wrap=True)
        if wide:
            table.add_column("cost", justify="right", no_wrap=True)
        table.add_column("age", justify="right", no_wrap=True)
        for agent in agents:
            what = f"{agent.task}.{agent.attempt}" if agent.task else agent.purpose
            row: list[RenderableType] = [
                foreign(agent.role),
                foreign(what),
                str(agent.turn),
                foreign(self._doing(agent)),
                token_span(agent.usage.total_tokens, agent.unknown.bound),
            ]
            row += [cost(agent.usd, agent.unknown.bound)] if wide else []
            table.add_row(*row, elapsed(self._now() - agent.started_at_seconds))
        return table

    def _doing(self, agent: AgentRow) -> str:
        if agent.tries:
            left = int(agent.retry_at_seconds - self._now())
            return f"try {agent.tries}" + (f" in {left} s" if left > 0 else "") + f": {agent.action}"
        return agent.action or agent.state

    def _tasks(self) -> Text:
        counts: dict[str, int] = {}
        for task in self._board.tasks.values():
            counts[task.status] = counts.get(task.status, 0) + 1
        words = ", ".join(f"{count} {status}" for status, count in counts.items())
        line = Text("tasks: ", style="bold")
        line.append(words or "none yet")
        for task in self._board.tasks.values():
            if task.status in {"failed", "blocked"}:
                line.append_text(self._trouble(task))
        return line

    def _trouble(self, task: TaskRow) -> Text:
        return foreign(f"  {task.id} {task.status}: {task.reason}", style="red")

    def _gates(self) -> Text:
        line = Text("gates: ", style="bold")
        verdicts = [
            Text(f"{gate.name}{GLUE}").append(gate.state, style=_STATES.get(gate.state, ""))
            for gate in self._board.gates.values()
        ]
        return line.append_text(Text(", ").join(verdicts))
