"""Pages that fill the screen beside the board: an agent's story, a task, a diff, the log, and help."""

from collections.abc import Callable, Iterable
from typing import Protocol

from codexteam.app.watching import AgentFollower, LogFollower
from codexteam.core.activity import Activity
from codexteam.core.ids import AgentKey
from codexteam.core.text import clean_line
from codexteam.report.progress import Progress
from codexteam.report.rows import AgentRow, TaskRow
from codexteam.report.transcripts import AgentTranscript, TranscriptTurn
from codexteam.views.formatting import doing_words, elapsed
from codexteam.views.live.lines import Line, broken, line
from codexteam.views.transcript import StyledLine, escaped_lines, head_lines, prompt_lines, turn_lines

HELP = (
    "up, down, j, k   move; page up, page down, home, end too",
    "enter            open what is chosen: an agent's story, a task, a question",
    "d                the diff of the task, or of the run",
    "l                the log of the task, or of the run",
    "s                say something to the agent on the task, for its next turn",
    "a                answer what waits, or approve it",
    "p                pause: no new agents start, others finish; again: go on",
    "x                stop this agent, or the run",
    "q                leave: a page first, then the view. The run continues",
    "Ctrl-C           where the run is: let agents finish; again: cut them off",
    "",
    "An agent thinks (waits for the model), runs a command, works (its sandbox",
    "starts or is read), waits for budget, or has STALLED: nothing was heard of it",
    "for longer than [codexteam.limits] stalled_minutes.",
    "The time at the top is time at work: waiting for you does not count.",
)

#: Of what a command prints while it runs, the last lines that are shown.
_OUTPUT_LINES = 40


class PageView(Protocol):
    """What fills the screen until it is left. Owned by the viewer, which closes it."""

    @property
    def title(self) -> str:
        """Return what it is, for the first line; escaped."""
        ...

    def refresh(self) -> bool:
        """Take in what is new; return whether anything is.

        Raises:
            CodexteamError: it cannot be read.
        """
        ...

    def lines(self, width: int) -> list[Line]:
        """Return all its lines."""
        ...

    def close(self) -> None:
        """Let go of what it reads."""
        ...


class TextPage:
    """A text that does not change."""

    def __init__(self, title: str, found: Iterable[StyledLine]) -> None:
        """Show escaped lines."""
        self.title = title
        self._found = list(found)

    def refresh(self) -> bool:
        """Nothing is ever new."""
        return False

    def lines(self, width: int) -> list[Line]:
        return [line((piece, style)) for text, style in self._found for piece in broken(text, width)]

    def close(self) -> None:
        """Nothing is open."""


def help_page() -> TextPage:
    """Return the page that lists the keys."""
    return TextPage("keys", [(text, "") for text in HELP])


def diff_page(title: str, text: str) -> TextPage:
    """Return a page with a difference, coloured as git does."""
    return TextPage(title, [(one, _diff_style(one)) for one in escaped_lines(text)])


def _diff_style(text: str) -> str:
    if text.startswith(("+++", "---", "diff ", "index ")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")


def task_page(task: TaskRow) -> TextPage:
    """Return a page of a task that nobody has worked on."""
    reason = f": {clean_line(task.reason)}" if task.reason else ""
    found = [(f"{clean_line(task.id)} {clean_line(task.title)}", "bold"), (f"{task.status}{reason}", "")]
    return TextPage(f"task {clean_line(task.id)}", [*found, ("", ""), ("no agent has worked on it yet", "dim")])


class LogPage:
    """The history of a run, or of one task."""

    def __init__(self, follower: LogFollower, title: str, started_at_seconds: Callable[[], float]) -> None:
        """Show what `follower` reads; times count from the run's beginning."""
        self.title = title
        self._follower = follower
        self._started_at_seconds = started_at_seconds
        self._drawn: tuple[int, int, list[Line]] = (0, 0, [])

    def refresh(self) -> bool:
        return self._follower.refresh()

    def lines(self, width: int) -> list[Line]:
        """Return all lines; those that were wrapped before are not wrapped again."""
        drawn_width, count, drawn = self._drawn
        if drawn_width != width:
            count, drawn = 0, []
        begun = self._started_at_seconds()
        for at, words in self._follower.lines[count:]:
            pieces = broken(clean_line(words), max(10, width - 9))
            drawn.append(line((f"{elapsed(at - begun):>8} ", "dim"), pieces[0]))
            drawn += [line(f"{'':9}{piece}") for piece in pieces[1:]]
        self._drawn = (width, len(self._follower.lines), drawn)
        return drawn or [line(("nothing yet", "dim"))]

    def close(self) -> None:
        self._follower.close()


class StoryPage:
    """One agent's story: its prompt, then turn by turn what it thought, said, called and got, as it comes."""

    def __init__(
        self,
        follower: AgentFollower,
        progress: Progress,
        now: Callable[[], float],
        *,
        is_run_at_work: Callable[[], bool],
    ) -> None:
        """Show what `follower` reads of an agent of the run whose facts fill `progress`."""
        self.title = clean_line(str(follower.key))
        self._follower = follower
        self._progress = progress
        self._now = now
        self._is_run_at_work = is_run_at_work
        self._mark: object = None
        self._drawn: dict[int, tuple[object, list[Line]]] = {}

    @property
    def _row(self) -> AgentRow:
        return self._progress.agents[str(self._follower.key)]

    def refresh(self) -> bool:
        """Read on when the agent does something else; what is stored does not change while a piece of an answer comes."""
        row, now = self._row, self._activity()
        doing = None if now is None else (now.doing, now.since_seconds, now.detail)
        mark = (row.turn, row.action, row.last_at_seconds, row.done, doing)
        looked = not row.done and self._is_run_at_work() and self._follower.look()
        if mark == self._mark:
            return looked
        changed = self._follower.refresh() or looked
        self._mark = mark
        return changed

    def _activity(self) -> Activity | None:
        return next((one for one in self._progress.activities if one.agent == str(self._follower.key)), None)

    def lines(self, width: int) -> list[Line]:
        """Return all lines; turns that were wrapped before are not wrapped again."""
        row = self._row
        is_at_work = not row.done and self._is_run_at_work()
        reason = row.action if row.done and row.state not in {"Submitted", ""} else ""
        transcript = AgentTranscript(
            self._follower.key, row, "", reason, self._follower.prompt, (), is_at_work=is_at_work, receipt={}
        )
        found = _wrapped(head_lines(transcript), width)
        found += self._part(0, (width, len(self._follower.prompt)), lambda: prompt_lines(self._follower.prompt), width)
        for turn in self._follower.turns:
            mark = (width, turn.is_done, len(turn.entries), is_at_work)
            found += self._part(turn.number, mark, lambda turn=turn: _turn(turn, is_at_work), width)  # type: ignore[misc]  # bound in this round
        if is_at_work:
            does = doing_words(row, self._activity(), self._now(), stalled=False)
            found += [line(""), *_wrapped([(clean_line(does), "cyan")], width)]
            printed = (
                escaped_lines(self._follower.output.rstrip("\n"))[-_OUTPUT_LINES:] if self._follower.output else []
            )
            found += _wrapped(((f"  | {text}".rstrip(), "") for text in printed), width)
        return found

    def _part(self, number: int, mark: object, make: Callable[[], Iterable[StyledLine]], width: int) -> list[Line]:
        before = self._drawn.get(number)
        if before is None or before[0] != mark:
            before = self._drawn[number] = (mark, _wrapped(make(), width))
        return before[1]

    def close(self) -> None:
        self._follower.close()


def _turn(turn: TranscriptTurn, is_at_work: bool) -> Iterable[StyledLine]:  # noqa: FBT001 - one caller above
    return turn_lines(turn, is_at_work=is_at_work)


def _wrapped(found: Iterable[StyledLine], width: int) -> list[Line]:
    return [line((piece, style)) for text, style in found for piece in broken(text, width)]


def key_of(row: AgentRow, run_id: str) -> AgentKey | None:
    """Return the agent of a row."""
    from codexteam.core.ids import RunId
    from codexteam.report.transcripts import agent_key

    return agent_key(
        RunId(run_id), {"role": row.role, "purpose": row.purpose, "task": row.task, "attempt": row.attempt}
    )
