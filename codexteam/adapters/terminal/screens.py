"""The screens of `runs`, `status`, `show` and `inbox`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codexteam.adapters.terminal.ragged import Ragged
from codexteam.adapters.terminal.words import (
    answers_to,
    cost,
    elapsed,
    foreign,
    money,
    next_answers,
    unknown_words,
    usage_words,
)
from codexteam.core.state import TaskPhase
from codexteam.core.text import clean_line
from codexteam.report.overview import UNREADABLE, RunOverview, UnreadableRun, task_word
from codexteam.report.task_story import AttemptStory, TaskStory

STATE_STYLES = {
    "green": "green",
    "running": "cyan",
    "paused": "yellow",
    "waiting": "yellow",
    "interrupted": "yellow",
    "limit": "yellow",
    "not_green": "red",
    "landing_failed": "red",
    UNREADABLE: "red",
    "cleaned": "dim",
}
_TASK_STYLES = {
    "merged": "green",
    "working": "cyan",
    "merging": "cyan",
    "accepted": "cyan",
    "waits": "yellow",
    "asking": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "blocked": "red",
    "dropped": "dim",
}
_VERDICT_STYLES = {"ship": "green", "block": "red", "unanswered": "yellow"}
#: What waits, works or failed is shown before what is done.
_ORDER = (
    *("waits", "asking", "failed", "blocked", "interrupted"),
    *("working", "merging", "accepted", "todo", "merged", "dropped"),
)
#: Tool calls of an attempt that are shown; all of them are in `logs` and `--json`.
_ACTIONS = 8
#: Lines of what a failed acceptance said; the end is where tests say what failed.
_EVIDENCE_LINES = 16


def age(seconds: float) -> str:
    """Give how long ago something was, in its largest unit."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def print_runs(console: Console, runs: Sequence[RunOverview | UnreadableRun], *, now_seconds: float) -> None:
    """Print a line for each run."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("age", "tasks", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True, overflow="ellipsis", ratio=1 if console.is_terminal else None)
    for run in runs:
        if isinstance(run, UnreadableRun):
            word, done, spent = UNREADABLE, "-", "-"
        else:
            word, done = run.word, f"{run.merged}/{len(run.counted)}"
            spent = cost(run.board.usd, run.board.unknown)
        table.add_row(
            foreign(run.record.run_id),
            Text(word, style=STATE_STYLES.get(word, "")),
            age(now_seconds - run.record.created_at_seconds),
            done,
            spent,
            foreign(_one_line(run.record.goal)),
        )
    console.print(Ragged(table))


def print_status(console: Console, run: RunOverview, *, now_seconds: float, room: int | None) -> None:
    """Print a run on one screen; `room` is how many tasks fit, None for all."""
    head = Text(f"{run.record.run_id}  ")
    head.append(run.word, style=f"bold {STATE_STYLES.get(run.word, '')}".strip())
    _line(console, head, foreign(f"  {_one_line(run.record.goal)}", style="bold"))
    for item, hold in run.state.holds.items():
        _line(console, Text("waits   ", style="yellow"), foreign(f"{item}: {_one_line(hold.question)}", style="yellow"))
    _line(console, foreign(f"phase   {_phase(run)}"))
    reason = run.state.result_reason or (run.state.stop.reason if run.state.stop else "")
    if reason and not run.live:
        _line(console, foreign(f"reason  {_one_line(reason)}"))
    elif run.broken_off:
        _line(console, foreign(f"reason  {_one_line(run.broken_off)}"))
    work = elapsed(run.board.now_seconds - run.board.started_at_seconds)
    _line(
        console, Text(f"time    began {age(now_seconds - run.record.created_at_seconds)} ago, {work} from first event")
    )
    budget = f" of {run.board.budget}" if run.board.budget else ""
    _line(console, foreign(f"cost    {money(run.board.usd)}{budget}, {usage_words(run.board.usage)}"))
    if unknown := unknown_words(run.board.unknown):
        _line(console, Text(f"        {unknown}", style="yellow"))
    _tasks(console, run, room)
    if run.state.gates:
        line = Text("gates   ")
        for gate, record in run.state.gates.items():
            line.append(f"{gate.value} ")
            line.append(record.verdict.value, style=_VERDICT_STYLES.get(record.verdict.value, ""))
            line.append(f" at {record.commit[:10]}  ")
        _line(console, line)
    _findings(console, run)
    for name in run.at_work:
        agent = run.board.agents[name]
        doing = agent.action or agent.state
        since = elapsed(now_seconds - agent.started_at_seconds)
        _line(console, foreign(f"agent   {name}, turn {agent.turn}, {since}: {_one_line(doing)}"))
    if run.branch:
        _line(console, Text(f"branch  {run.branch} at {str(run.state.landed)[:10]}"))
    for command in next_commands(run):
        _line(console, Text("next    ").append(command, style="bold"))


def _phase(run: RunOverview) -> str:
    state = run.state
    words = state.phase.value
    if state.round:
        words += f", round {state.round} of {state.round_limit}"
    if state.judging:
        words += ", judging: " + ", ".join(sorted(gate.value for gate in state.judging.waiting))
    words += f"; base {run.record.base[:10]}"
    return f"{words}, tip {state.tip[:10]}" if state.tip and state.tip != state.base else words


def _tasks(console: Console, run: RunOverview, room: int | None) -> None:
    _line(console, Text(f"tasks   {run.merged} of {len(run.counted)} merged"))
    ordered = sorted(run.state.tasks.values(), key=lambda known: _ORDER.index(task_word(known, live=run.live)))
    shown = ordered if room is None else ordered[: max(room, 3)]
    wide = max((len(known.task.id) for known in shown), default=0)
    words = max([8, *(len(task_word(known, live=run.live)) for known in shown)])
    for known in shown:
        word = task_word(known, live=run.live)
        line = Text("  ").append_text(foreign(known.task.id.ljust(wide)))
        line.append(f"  {word:{words}} ", style=_TASK_STYLES.get(word, ""))
        line.append(f"{known.attempt or '-':>2}  ", style="dim")
        line.append_text(foreign(_one_line(known.task.title)))
        if known.reason and known.phase is not TaskPhase.MERGED:
            line.append_text(foreign(f": {_one_line(known.reason)}", style="dim"))
        _line(console, line)
    if len(shown) < len(ordered):
        _line(console, Text(f"  and {len(ordered) - len(shown)} more", style="dim"))


def _findings(console: Console, run: RunOverview) -> None:
    counts: dict[str, int] = {}
    for known in run.state.findings.values():
        counts[known.status.value] = counts.get(known.status.value, 0) + 1
    if counts:
        _line(console, Text("finds   " + ", ".join(f"{count} {word}" for word, count in counts.items())))
    for finding_id in run.open_findings:
        finding = next(k.finding for i, k in run.state.findings.items() if i == finding_id)
        place = f" {finding.file}:{finding.line}" if finding.file and finding.line else f" {finding.file or ''}"
        _line(
            console, foreign(f"  {finding_id} {finding.severity.value}: {_one_line(finding.title)}{place}", style="red")
        )


def next_commands(run: RunOverview) -> list[str]:
    """Give what a user would type next."""
    if run.live:
        return next_answers(run.state.holds) or ["codexteam logs -f"]
    match run.word:
        case "green":
            return ["codexteam diff", "codexteam apply"]
        case "waiting":
            return [*next_answers(run.state.holds), "codexteam resume"]
        case "limit":
            return ["codexteam resume --budget ..."]
        case "cleaned":
            return []
        case _:
            return ["codexteam resume"]


def print_task(console: Console, story: TaskStory) -> None:
    """Print a task's story."""
    known, task = story.known, story.known.task
    word = story.word
    head = foreign(f"{task.id} {_one_line(task.title)}", style="bold")
    head.append(f"  {word}", style=_TASK_STYLES.get(word, ""))
    _line(console, head)
    _line(console, foreign(f"role    {task.role}, effort {task.effort}, attempt {known.attempt or 'none yet'}"))
    if known.reason:
        _line(console, foreign(f"reason  {_one_line(known.reason)}"))
    for name, values in (("after", task.deps), ("paths", task.paths)):
        if values:
            _line(console, foreign(f"{name}   {', '.join(map(str, values))}"))
    for one in task.acceptance:
        command = f": `{one.command}`" if one.command else ""
        _line(console, foreign(f"accept  {_one_line(one.criterion)}{command}"))
    for finding_id, status, title in story.fixes:
        _line(console, foreign(f"fixes   {finding_id} ({status}) {_one_line(title)}"))
    if story.merged_as:
        _line(console, Text(f"merged  as {story.merged_as[:10]}"))
    if task.description:
        console.print()
        for text in task.description.splitlines():
            _line(console, Text("  ").append_text(foreign(text)))
    for attempt in story.attempts:
        console.print()
        _attempt(console, attempt)


def _attempt(console: Console, attempt: AttemptStory) -> None:
    head = Text(f"attempt {attempt.number}", style="bold")
    head.append_text(foreign(f" {attempt.kind}: {_one_line(attempt.outcome) or 'at work'}", style="none"))
    _line(console, head)
    if attempt.started_at_seconds:
        began = datetime.fromtimestamp(attempt.started_at_seconds, UTC)
        took = elapsed(attempt.ended_at_seconds - attempt.started_at_seconds)
        spent = f"{attempt.turns} turns, {money(attempt.usd)}, {usage_words(attempt.usage)}"
        _line(console, Text(f"  time    {began:%Y-%m-%d %H:%M:%S} UTC, {took}, {spent}"))
    if unknown := unknown_words(attempt.unknown.bound):
        _line(console, Text(f"          {unknown}", style="yellow"))
    for words in _receipt(attempt):
        _line(console, foreign(f"  agent   {words}"))
    for note in attempt.notes:
        _line(console, foreign(f"  note    {_one_line(note)}"))
    hidden = len(attempt.actions) - _ACTIONS
    if hidden > 0:
        _line(console, Text(f"  did     {hidden} more before these", style="dim"))
    for action in attempt.actions[-_ACTIONS:]:
        _line(console, foreign(f"  did     {_one_line(action)}"))
    for check in attempt.checks:
        end = "timed out" if check.timed_out else f"exit {check.exit_code}"
        style = "green" if check.exit_code == 0 and not check.timed_out else "red"
        line = Text("  check   ").append(end, style=style)
        _line(console, line, foreign(f"  `{_one_line(check.command)}` ({check.seconds:.1f} s)"))
    said = [line for line in attempt.evidence.splitlines() if line.strip()]
    if len(said) > _EVIDENCE_LINES:
        _line(console, Text(f"  said    {len(said) - _EVIDENCE_LINES} lines more before these", style="dim"))
    for text in said[-_EVIDENCE_LINES:]:
        _line(console, foreign(f"  said    {text}"))
    if attempt.commit:
        _line(console, Text(f"  commit  {attempt.commit[:10]} on {attempt.base[:10]}"))
    if attempt.folder:
        _line(console, foreign(f"  files   {attempt.folder}"))


def _receipt(attempt: AttemptStory) -> Iterable[str]:
    receipt = attempt.receipt
    if not receipt:
        return
    model = receipt.get("model")
    facts = receipt.get("started_sandbox")
    name = model.get("value") if isinstance(model, dict) else model
    engine = facts.get("engine") if isinstance(facts, dict) else ""
    yield ", ".join(str(part) for part in (receipt.get("agent"), name, engine) if part)


def print_inbox(console: Console, runs: Sequence[RunOverview]) -> None:
    """Print what waits for a person, and how to answer it."""
    for run in runs:
        for item, hold in run.state.holds.items():
            _line(console, foreign(item, style="bold yellow"), foreign(f"  {_one_line(run.record.goal)}", style="dim"))
            for text in hold.question.splitlines():
                console.print(Text("  ").append_text(foreign(text)), soft_wrap=True)
            for command in answers_to(item):
                console.print(Text("    ").append(command, style="bold"), soft_wrap=True)


def print_work(console: Console, rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Print pieces of work: run, kind, name, and where it is. A path is never cut: it is there to be copied."""
    cells = [("run", "kind", "name", "where"), *(tuple(clean_line(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for number, row in enumerate(cells):
        words = "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]])
        console.print(Text(words, style="" if number else "dim"), soft_wrap=True)


def _line(console: Console, *parts: Text) -> None:
    line = Text()
    for part in parts:
        line.append_text(part)
    line.rstrip()
    if console.is_terminal:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        console.print(line, soft_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())
