"""The screens of `runs`, `status`, `show` and `inbox`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from codexteam.adapters.terminal.layout import GLUE, columns, print_wrapped, width_of
from codexteam.adapters.terminal.words import (
    OTHER_ANSWERS,
    answers_to,
    cost,
    elapsed,
    foreign,
    in_words,
    money,
    next_answers,
    unknown_words,
    usage_words,
)
from codexteam.core.findings import GateName
from codexteam.core.people import plan_waits
from codexteam.core.state import RunPhase, TaskPhase
from codexteam.core.text import clean_line, count_of
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
#: A goal that has less room than this beside the other columns gets a line of its own.
_GOAL_WIDTH = 24
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
    names = ("run", "state", "age", "tasks", "cost")
    rows = [[Text(name, style="dim") for name in names]]
    for run in runs:
        if isinstance(run, UnreadableRun):
            word, done, spent = UNREADABLE, "-", "-"
        else:
            word, done = run.word, f"{run.merged}/{len(run.counted)}"
            spent = cost(run.board.usd, run.board.unknown)
        rows.append(
            [
                foreign(run.record.run_id),
                Text(in_words(word), style=STATE_STYLES.get(word, "")),
                Text(age(now_seconds - run.record.created_at_seconds)),
                Text(done),
                Text(spent),
            ]
        )
    lines = columns(rows, right={2, 3, 4})
    wide = width_of(lines)
    goals = [Text("goal", style="dim"), *(foreign(_one_line(run.record.goal)) for run in runs)]
    # where there is no room beside them goals stand below: a column of dots says nothing
    below = console.is_terminal and console.width - wide - 2 < _GOAL_WIDTH
    for number, (line, goal) in enumerate(zip(lines, goals, strict=True)):
        if below:
            _line(console, line)
            if number:
                _line(console, Text("  ").append_text(goal))
        else:
            line.pad_right(wide + 2 - cell_len(line.plain))
            _line(console, line, goal)


def print_status(console: Console, run: RunOverview, *, now_seconds: float, room: int | None) -> None:
    """Print a run on one screen; `room` is how many tasks fit, None for all."""
    head = Text(f"{run.record.run_id}  ")
    head.append(in_words(run.word), style=f"bold {STATE_STYLES.get(run.word, '')}".strip())
    _line(console, head, foreign(f"  {_one_line(run.record.goal)}", style="bold"))
    for item, hold in run.state.holds.items():
        _fact(console, foreign(f"waits   {item}: {_one_line(hold.question)}", style="yellow"))
    _fact(console, foreign(f"phase   {_phase(run)}"))
    reason = run.state.result_reason or (run.state.stop.reason if run.state.stop else "")
    if reason and not run.live:
        _fact(console, foreign(f"reason  {_one_line(reason)}"))
    elif run.broken_off:
        _fact(console, foreign(f"reason  {_one_line(run.broken_off)}"))
    work = elapsed(run.board.worked_seconds(run.board.now_seconds))
    _line(console, Text(f"time    began {age(now_seconds - run.record.created_at_seconds)} ago, {work} at work"))
    budget = f" of {run.board.budget}" if run.board.budget else ""
    _line(console, foreign(f"cost    {money(run.board.usd)}{budget}, {usage_words(run.board.usage)}"))
    if unknown := unknown_words(run.board.unknown):
        _line(console, Text(f"        {unknown}", style="yellow"))
    _tasks(console, run, room)
    if run.state.gates:
        _fact(console, Text("gates   ").append_text(_gates(run)))
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


def _gates(run: RunOverview) -> Text:
    """Give the newest verdicts; where all are on one commit it is said once."""
    found = [(gate, run.state.gates[gate]) for gate in GateName if gate in run.state.gates]
    commits = {record.commit for _, record in found}
    parts = []
    for gate, record in found:
        part = Text(f"{gate.value}{GLUE}")
        part.append(record.verdict.value, style=_VERDICT_STYLES.get(record.verdict.value, ""))
        parts.append(part if len(commits) == 1 else part.append(f"{GLUE}at{GLUE}{record.commit[:10]}"))
    line = Text(", ").join(parts)
    return line.append(f" at{GLUE}{commits.pop()[:10]}") if len(commits) == 1 else line


def _phase(run: RunOverview) -> str:
    state = run.state
    words = state.phase.value
    if not run.live and run.word != "waiting" and state.phase not in {RunPhase.NEW, RunPhase.FINISHED}:
        words = f"was {words}"  # nobody is at it any more
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
        if known.reason not in {"", run.state.result_reason} and known.phase is not TaskPhase.MERGED:
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
        case "waiting" if run.record.settings.get("plan_only") is True and plan_waits(run.state):
            return ["codexteam resume  # works on the plan; edit plan.md first if you like", OTHER_ANSWERS]
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
    _fact(console, head)
    _fact(console, foreign(f"role    {task.role}, effort {task.effort}, attempt {known.attempt or 'none yet'}"))
    if known.reason:
        _fact(console, foreign(f"reason  {_one_line(known.reason)}"))
    for name, values in (("after", task.deps), ("paths", task.paths)):
        if values:
            _fact(console, foreign(f"{name}   {', '.join(map(str, values))}"))
    for one in task.acceptance:
        command = f": `{one.command}`" if one.command else ""
        _fact(console, foreign(f"accept  {_one_line(one.criterion)}{command}"))
    for finding_id, status, title in story.fixes:
        _fact(console, foreign(f"fixes   {finding_id} ({status}) {_one_line(title)}"))
    if story.merged_as:
        _fact(console, Text(f"merged  as {story.merged_as[:10]}"))
    if task.description:
        console.print()
        for text in task.description.splitlines():
            _fact(console, Text("  ").append_text(foreign(text)), indent=2)
    for attempt in story.attempts:
        console.print()
        _attempt(console, attempt)


def _attempt(console: Console, attempt: AttemptStory) -> None:
    head = Text(f"attempt {attempt.number}", style="bold")
    head.append_text(foreign(f" {attempt.kind}: {_one_line(attempt.outcome) or 'at work'}", style="none"))
    _fact(console, head)
    if attempt.started_at_seconds:
        began = datetime.fromtimestamp(attempt.started_at_seconds, UTC)
        took = elapsed(attempt.ended_at_seconds - attempt.started_at_seconds)
        spent = f"{count_of(attempt.turns, 'turn')}, {money(attempt.usd)}, {usage_words(attempt.usage)}"
        _fact(console, Text(f"  time    {began:%Y-%m-%d %H:%M:%S} UTC, {took}, {spent}"))
    if unknown := unknown_words(attempt.unknown.bound):
        _fact(console, Text(f"          {unknown}", style="yellow"))
    for words in _receipt(attempt):
        _fact(console, foreign(f"  agent   {words}"))
    for note in attempt.notes:
        _fact(console, foreign(f"  note    {_one_line(note)}"))
    hidden = len(attempt.actions) - _ACTIONS
    if hidden > 0:
        _fact(console, Text(f"  did     {hidden} more before these", style="dim"))
    for action in attempt.actions[-_ACTIONS:]:
        _fact(console, foreign(f"  did     {_one_line(action)}"))
    for check in attempt.checks:
        end = "timed out" if check.timed_out else f"exit {check.exit_code}"
        style = "green" if check.exit_code == 0 and not check.timed_out else "red"
        line = Text("  check   ").append(end, style=style)
        line.append_text(foreign(f"  `{_one_line(check.command)}` ({check.seconds:.1f} s)"))
        _fact(console, line)
    said = [line for line in attempt.evidence.splitlines() if line.strip()]
    if len(said) > _EVIDENCE_LINES:
        _fact(
            console, Text(f"  said    {count_of(len(said) - _EVIDENCE_LINES, 'line')} more before these", style="dim")
        )
    for text in said[-_EVIDENCE_LINES:]:
        _line(console, foreign(f"  said    {text}"), cut=False)
    if attempt.commit:
        _fact(console, Text(f"  commit  {attempt.commit[:10]} on {attempt.base[:10]}"))
    if attempt.folder:
        _fact(console, foreign(f"  files   {attempt.folder}"))


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


def _fact(console: Console, line: Text, *, indent: int | None = None) -> None:
    """Print a line of which nothing may be lost."""
    line.rstrip()
    deeper = 10 if line.plain.startswith("  ") else 8
    print_wrapped(console, line, deeper if indent is None else indent)


def _line(console: Console, *parts: Text, cut: bool = True) -> None:
    """Print a line; on a terminal it is cut at the edge, where `cut`."""
    line = Text()
    for part in parts:
        line.append_text(part)
    line.rstrip()
    if console.is_terminal and cut:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        console.print(line, soft_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())
