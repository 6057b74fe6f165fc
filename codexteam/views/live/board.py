"""The board: how far a run is and what it costs, what waits for people, who does what, and what was found. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from codexteam.core.activity import DOING_WORDS, Activity, Doing
from codexteam.core.ids import BESIDE_A_TASK
from codexteam.core.replies import is_approvable
from codexteam.core.text import clean_line, count_of
from codexteam.report.progress import Progress, retry_words
from codexteam.report.rows import AgentRow, TaskRow
from codexteam.views.formatting import (
    answers_to,
    cost,
    credit_words,
    elapsed,
    in_words,
    money,
    running_words,
    share,
    token_span,
)
from codexteam.views.live.lines import EMPTY, Line, Span, cut, line, padded, sides, styled, width_of_line, window
from codexteam.views.live.state import BoardRow, RowKind, ViewState

#: Of each kind, how many lines are shown below the list.
_COMMANDS, _FINDINGS, _EVENTS = 2, 3, 4
#: The list of agents and tasks has at least so many lines.
_LIST_LINES = 6
_VERDICTS = {"ship": "green", "block": "red", "unanswered": "yellow", "running": "cyan"}
_TASKS = {
    "merged": "green",
    "working": "cyan",
    "merging": "cyan",
    "accepted": "cyan",
    "waits": "yellow",
    "asking": "yellow",
    "conflict": "yellow",
    "failed once": "yellow",
    "failed": "red",
    "blocked": "red",
    "dropped": "dim",
}
#: What needs a look comes first, what is done comes last.
_TASK_ORDER = (
    *("waits", "asking", "failed", "blocked", "failed once", "conflict"),
    *("working", "merging", "accepted", "todo", "merged", "dropped"),
)
_TASK_PLACES = {status: place for place, status in enumerate(_TASK_ORDER)}
_RESULTS = {"green": "green", "answered": "green", "not_green": "red"}


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What is drawn beside the facts of the run."""

    now_seconds: float
    activities: dict[str, Activity] = field(default_factory=dict)
    """What agents do, by name."""
    trouble: str = ""
    """What is wrong with the run's process."""
    word: str = ""
    """That in a word: `suspended`, `blocked` or `stalled`; empty for a process that is well."""
    is_ours: bool = False
    """The run's process is this one: Ctrl-C reaches it."""
    is_at_work: bool = True
    """A process works on the run."""
    more: str = "…"
    """Stands for what is cut off."""
    bar: str = "█░"
    """What a bar of progress is drawn with."""


def rows_of(progress: Progress, *, is_at_work: bool = True) -> list[BoardRow]:
    """Return what can be chosen, from top to bottom: what waits, agents at work, tasks."""
    rows = [
        BoardRow(RowKind.ITEM, item, _task_of(item), is_approvable(item), question)
        for item, question in progress.waiting.items()
    ]
    rows += [BoardRow(RowKind.AGENT, agent.name, agent.task) for agent in _at_work(progress, is_at_work)]
    return rows + [BoardRow(RowKind.TASK, task.id, task.id) for task in _ordered(progress)]


def board_lines(progress: Progress, state: ViewState, facts: BoardFacts, width: int, height: int) -> list[Line]:
    """Return exactly `height` lines for the whole board."""
    top = [*_top(progress, facts, width), *_waiting(progress, state)]
    below = _below(progress, facts)
    room = max(_LIST_LINES, height - len(top) - len(below))
    entries, hidden = _around(_entries(progress, facts), state.chosen, room)
    shown = _drawn(entries, progress, state, facts, width)
    shown += [line((f"  {hidden}", "dim"))] if hidden else []
    spare = height - len(top) - len(shown) - len(below)
    lines = [*top, *([EMPTY] if spare >= 2 else []), *shown, *([EMPTY] if spare >= 1 and below else [])]
    lines += below[: max(0, height - len(lines))]
    return [cut(one, width, facts.more) for one in window(lines, 0, height)]


def _top(progress: Progress, facts: BoardFacts, width: int) -> list[Line]:
    """Return how far the run is, what it is about, and what is the matter."""
    counted = [task for task in progress.tasks.values() if task.status != "dropped"]
    merged = sum(task.status == "merged" for task in counted)
    cached = "" if progress.cached_share is None else f" ({share(progress.cached_share)} cached)"
    limit = f" of {progress.budget}" if progress.budget else ""
    is_going = facts.is_at_work and facts.word != "suspended"
    worked = elapsed(progress.worked_seconds(facts.now_seconds if is_going else progress.now_seconds))
    phase: Span = (_phase(progress, facts), _phase_style(progress, facts))
    # money is never cut: where it has no room beside the bar, the bar gets shorter, then money has its own line
    lines: list[Line] = []
    for bar, more in ((24, cached), (10, cached), (24, ""), (10, ""), (0, "")):
        left = line(*_bar(merged, len(counted), bar, facts.bar), phase)
        right = line((f"{_spent(progress)}{more}{limit}", "bold"), f"  {worked}")
        lines = [left, right]
        if width_of_line(left) + width_of_line(right) < width:
            lines = [sides(left, right, width, facts.more)]
            break
    lines.append(line((clean_line(progress.goal), "bold")))
    if facts.trouble:
        lines.append(line((clean_line(facts.trouble), "bold yellow reverse")))
    if progress.stopping:
        lines.append(line((_stopping(progress, facts), "bold yellow reverse")))
    if progress.retrying:
        lines.append(line((clean_line(retry_words(progress.retrying)), "yellow")))
    return lines


def _bar(merged: int, counted: int, columns: int, letters: str) -> list[Span]:
    """Return how many tasks are merged, in words and as a bar; nothing where there are none yet."""
    if not counted:
        return []
    full, empty = letters[0], letters[1]
    done = columns * merged // counted
    rest = f"{empty * (columns - done)} " if columns else ""
    return [(f"{merged} of {counted} merged ", "bold"), (full * done, "green"), (rest, "dim")]


def _phase(progress: Progress, facts: BoardFacts) -> str:
    if progress.result:
        reason = f": {clean_line(progress.reason)}" if progress.reason else ""
        return f"{in_words(progress.result)}{reason}"
    if not facts.is_at_work:
        return "nobody works on it; codexteam resume continues"
    if facts.word:
        return facts.word
    if progress.stopping:
        return "stopping"
    return "waits for you" if progress.waits_for_people else "paused" if progress.paused else progress.phase


def _phase_style(progress: Progress, facts: BoardFacts) -> str:
    if progress.result:
        return _RESULTS.get(progress.result, "yellow")
    quiet = not facts.is_at_work or facts.word or progress.stopping or progress.paused or progress.waits_for_people
    return "yellow" if quiet else "cyan"


def _spent(progress: Progress) -> str:
    unknown, usage = progress.unknown, progress.usage
    spent = cost(progress.usd, unknown)
    if progress.usd is None:
        known = sum(agent.usd for agent in progress.agents.values() if agent.usd is not None)
        spent = f"{money(known)} and what has no price" if known else "price unknown"
    if progress.credits:
        spent += f", {credit_words(progress.credits)}"
    return f"{spent}, {token_span(usage.total_tokens, unknown)} tokens"


def _stopping(progress: Progress, facts: BoardFacts) -> str:
    """Say what is waited for, and what Ctrl-C does next."""
    if progress.stopping == "now":
        next_ = "; Ctrl-C ends the process at once, resume continues" if facts.is_ours else ""
        return f"stopping: agents are cut off, their work is saved{next_}"
    at_work = sum(not agent.done for agent in progress.agents.values())
    next_ = "; Ctrl-C cuts them off, their work is saved" if facts.is_ours else "; x n cuts them off"
    return f"stopping: {count_of(at_work, 'agent')} to finish{next_}"


def _waiting(progress: Progress, state: ViewState) -> list[Line]:
    lines = []
    for item, question in progress.waiting.items():
        chosen = state.chosen is not None and (state.chosen.kind, state.chosen.name) == (RowKind.ITEM, item)
        shown = line((f"{_mark(chosen=chosen)}waits for you ", "bold yellow"), clean_line(f"{item}: {question}"))
        lines.append(styled(shown, "reverse") if chosen else shown)
        if chosen:
            lines.append(line(("   a answers here; elsewhere: " + clean_line(answers_to(item)[0]), "dim")))
    return lines


#: A line of the list: what is chosen with it, and what it shows; a text is a heading.
_Entry = tuple[BoardRow | None, AgentRow | TaskRow | str]


def _entries(progress: Progress, facts: BoardFacts) -> list[_Entry]:
    """Return agents and tasks with their headings; they are drawn once it is known which of them have room."""
    agents = _at_work(progress, facts.is_at_work)
    entries: list[_Entry] = [(None, _AGENTS)] if agents else []
    entries += [(BoardRow(RowKind.AGENT, agent.name, agent.task), agent) for agent in agents]
    if progress.tasks:
        entries += [(None, ""), (None, _counts(progress))] if agents else [(None, _counts(progress))]
    entries += [(BoardRow(RowKind.TASK, task.id, task.id), task) for task in _ordered(progress)]
    return entries


def _drawn(
    entries: Sequence[_Entry], progress: Progress, state: ViewState, facts: BoardFacts, width: int
) -> list[Line]:
    """Return the lines of a part of the list."""
    agents = [shown for _, shown in entries if isinstance(shown, AgentRow)]
    cells = {agent.name: _agent_cells(agent, facts, progress) for agent in agents}
    widths = _agent_widths([*cells.values()], width)
    names = max((len(task.id) for task in progress.tasks.values()), default=0)
    words = max((len(task.status) for task in progress.tasks.values()), default=0)
    lines = []
    for row, shown in entries:
        chosen = row is not None and _is(row, state.chosen)
        if isinstance(shown, AgentRow):
            texts, style = cells[shown.name]
            lines.append(_agent_line(texts, style, widths, facts, chosen=chosen))
        elif isinstance(shown, TaskRow):
            lines.append(_task_line(shown, names, words, chosen=chosen))
        elif shown == _AGENTS:
            lines.append(_agent_line(_AGENT_HEAD, "", widths, facts, style_all="dim"))
        else:
            lines.append(line((shown, "dim")))
    return lines


#: role, what for, turn, what it does, tokens, cost, age
_Cells = tuple[str, str, str, str, str, str, str]
_AGENT_HEAD: _Cells = ("agent", "task", "turn", "does", "tokens", "cost", "time")
_DOES = 3
_AGENTS = "agents"
#: At most so many columns, by cell, where the screen is narrow.
_NARROW = (14, 10, 4, 0, 16, 18, 8)


def _agent_cells(agent: AgentRow, facts: BoardFacts, progress: Progress) -> tuple[_Cells, str]:
    on_it = agent.task and agent.purpose not in BESIDE_A_TASK
    what = f"{agent.task}.{agent.attempt}" if on_it else f"{agent.purpose}.{agent.attempt}"
    does, style = _does(agent, facts, progress)
    bound = agent.unknown.bound
    cells = (
        clean_line(agent.role),
        clean_line(what),
        str(agent.turn),
        clean_line(does),
        token_span(agent.usage.total_tokens, bound),
        "?" if agent.usd is None else cost(agent.usd, bound),
        elapsed(facts.now_seconds - agent.started_at_seconds),
    )
    return cells, style


def _does(agent: AgentRow, facts: BoardFacts, progress: Progress) -> tuple[str, str]:
    """Say what an agent does, and how that looks: who thinks and who is stuck look different."""
    if agent.tries:
        left = int(agent.retry_at_seconds - facts.now_seconds)
        when = f" in {left} s" if left > 0 else ""
        return f"ASKED AGAIN, try {agent.tries}{when}: {agent.action}", "yellow"
    now = facts.activities.get(agent.name)
    if now is None:
        return agent.action or agent.state, ""
    for_ = elapsed(max(0.0, facts.now_seconds - now.since_seconds))
    if now.is_stalled(facts.now_seconds, after_seconds=progress.stalled_seconds):
        silent = elapsed(facts.now_seconds - now.heard_seconds)
        return f"STALLED, silent for {silent}: {DOING_WORDS[now.doing]}", "bold yellow"
    detail = f" {now.detail}" if now.detail else ""
    match now.doing:
        case Doing.MODEL:
            return f"thinks {for_}{detail}", "cyan"
        case Doing.COMMAND:
            return f"runs {for_}{detail}", ""
        case Doing.LIMIT:
            return f"waits for budget {for_}{detail}", "dim"
        case Doing.WORKING:
            return f"works {for_}{detail}", ""
        case Doing.MERGE_TRAIN | Doing.PERSON:
            return f"{DOING_WORDS[now.doing]} {for_}{detail}", "dim"


def _agent_widths(cells: Sequence[tuple[_Cells, str]], width: int) -> list[int]:
    """Return the columns of each cell; what an agent does gets what is left."""
    texts = [_AGENT_HEAD, *(one for one, _ in cells)]
    widths = [max(len(cell) for cell in column) for column in zip(*texts, strict=True)]
    widths = [min(size, most) if most and width < 120 else size for size, most in zip(widths, _NARROW, strict=True)]
    widths[_DOES] = 0
    widths[_DOES] = max(8, width - 2 - sum(widths) - (len(widths) - 1))
    return widths


def _agent_line(
    cells: _Cells, style: str, widths: Sequence[int], facts: BoardFacts, *, chosen: bool = False, style_all: str = ""
) -> Line:
    right = {2, 4, 5, 6}
    texts = [
        padded(cell, size, right=number in right, more=facts.more)
        for number, (cell, size) in enumerate(zip(cells, widths, strict=True))
    ]
    before, after = " ".join(texts[:_DOES]), " ".join(texts[_DOES + 1 :])
    shown = line(_mark(chosen=chosen) + before + " ", (texts[_DOES], style), " " + after)
    return styled(shown, style_all or ("reverse" if chosen else ""))


def _task_line(task: TaskRow, names: int, words: int, *, chosen: bool) -> Line:
    tries = f" try {task.attempt}" if task.attempt > 1 else ""
    shown = line(
        f"{_mark(chosen=chosen)}{clean_line(task.id):{names}} ",
        (f"{task.status:{words}}", _TASKS.get(task.status, "")),
        f"{tries} {clean_line(task.title)}",
        (f": {clean_line(task.reason)}", "dim") if task.reason and task.status != "merged" else "",
    )
    return styled(shown, "reverse") if chosen else shown


def _mark(*, chosen: bool) -> str:
    """Return what stands before a row: what is chosen is seen without colours too."""
    return "> " if chosen else "  "


def _counts(progress: Progress) -> str:
    counts: dict[str, int] = {}
    for task in progress.tasks.values():
        counts[task.status] = counts.get(task.status, 0) + 1
    ordered = sorted(counts.items(), key=lambda each: _place(each[0]))
    return "  tasks: " + ", ".join(f"{count} {status}" for status, count in ordered)


def _place(status: str) -> int:
    return _TASK_PLACES.get(status, 0)


def _ordered(progress: Progress) -> list[TaskRow]:
    return sorted(progress.tasks.values(), key=lambda task: _place(task.status))


def _at_work(progress: Progress, is_at_work: bool) -> list[AgentRow]:  # noqa: FBT001 - one caller, by name there
    return [agent for agent in progress.agents.values() if not agent.done] if is_at_work else []


def _task_of(item: str) -> str:
    """Return the task of an item of the inbox, `question.T1.1` or `merge.T2.1`; empty for others."""
    parts = item.split(".")
    return parts[1] if len(parts) > 1 and parts[1].startswith("T") and parts[1][1:].isdigit() else ""


def _around(entries: Sequence[_Entry], chosen: BoardRow | None, room: int) -> tuple[Sequence[_Entry], str]:
    """Return the part of the list that fits, what is chosen in it, and in words how much is not shown."""
    if len(entries) <= room:
        return entries, ""
    places = [number for number, (row, _) in enumerate(entries) if row is not None and _is(row, chosen)]
    place = places[0] if places else 0
    size = room - 1
    first = min(max(0, place - size + 2), len(entries) - size) if place >= size - 1 else 0
    below = len(entries) - first - size
    words = [f"{first} above"] if first else []
    words += [f"{below} more below"] if below else []
    return entries[first : first + size], ", ".join(words)


def _is(row: BoardRow, chosen: BoardRow | None) -> bool:
    return chosen is not None and (row.kind, row.name) == (chosen.kind, chosen.name)


def _below(progress: Progress, facts: BoardFacts) -> list[Line]:
    """Return commands that run for long, gates, findings and the last events."""
    lines = [
        line((f"  runs {clean_line(running_words(row, facts.now_seconds))}", "cyan"))
        for row in list(progress.commands.values())[:_COMMANDS]
    ]
    if progress.gates:
        parts: list[Span | str] = ["  gates: "]
        for number, gate in enumerate(progress.gates.values()):
            parts += [", " if number else "", f"{gate.name} ", (gate.state, _VERDICTS.get(gate.state, ""))]
        lines.append(line(*parts))
    found = [finding for finding in progress.findings.values() if finding.status == "open"]
    lines += [
        line((f"  {finding.id} ", "red"), clean_line(f"{finding.title} {finding.place}"))
        for finding in found[:_FINDINGS]
    ]
    if len(found) > _FINDINGS:
        lines.append(line((f"  and {len(found) - _FINDINGS} more open findings", "dim")))
    lines += [line((f"{elapsed(at):>8} {clean_line(words)}", "dim")) for at, words in progress.tail[-_EVENTS:]]
    return lines
