"""The screens of `runs`, `status`, `show` and `inbox`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from codexteam.app.inspect import RunList, RunStatus
from codexteam.core.activity import DOING_WORDS, Doing
from codexteam.core.approvals import plan_waits
from codexteam.core.green import unwritten_documentation
from codexteam.core.ids import GateName, JSONObject
from codexteam.core.state import FindingStatus, RunPhase, TaskPhase
from codexteam.core.text import count_of
from codexteam.report.overview import UNREADABLE, RunOverview, UnreadableRun, task_word
from codexteam.report.task_story import AttemptStory, TaskStory
from codexteam.views.formatting import (
    OTHER_ANSWERS,
    after_not_green,
    answers_to,
    cost,
    credit_count,
    credit_words,
    doing_words,
    elapsed,
    forecast_words,
    foreign,
    in_words,
    look_at,
    money,
    next_answers,
    priced_words,
    running_words,
    unknown_words,
    usage_words,
    worth,
)
from codexteam.views.layout import GLUE, columns, print_wrapped, width_of
from codexteam.views.streams import OutputStreams

STATE_STYLES = {
    "green": "green",
    "answered": "green",
    "running": "cyan",
    "paused": "yellow",
    "suspended": "bold yellow",
    "stalled": "bold yellow",
    "blocked": "bold yellow",
    "waiting": "yellow",
    "interrupted": "yellow",
    "limit": "yellow",
    "not_green": "red",
    "cannot_run": "red",
    "landing_failed": "red",
    UNREADABLE: "red",
    "cleaned": "dim",
    "rewound": "dim",
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
#: Lines of `status` that are not tasks.
_STATUS_LINES = 14
#: Tool calls of an attempt that are shown; all of them are in `logs` and `--json`.
_ACTIONS = 8
#: A goal that has less room than this beside the other columns gets a line of its own.
_GOAL_WIDTH = 24
#: Of a command that failed before the run, the last lines that are shown.
_BASE_LINES = 3
#: Lines of what a failed acceptance said; the end is where tests say what failed.
_EVIDENCE_LINES = 16


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def show_runs(output: OutputStreams, found: RunList) -> None:
    """Print runs, newest first."""
    if output.json_lines:
        output.records((run.row_json() for run in found.runs), "runs.completed", older=found.older)
        return
    if not found.runs:
        output.note('there are no runs here yet. Start one: codexteam run "goal"')
        return
    print_runs(output.console(), found.runs, now_seconds=found.now_seconds)
    for run in found.runs:
        if isinstance(run, UnreadableRun):
            output.note(run.why)
    if found.older:
        output.note(f"{found.older} older: codexteam runs -n 0")


def show_status(output: OutputStreams, found: RunStatus) -> None:
    """Print one run on one screen."""
    run = found.run
    if output.json_lines:
        output.records([run.status_json()], "status.completed")
        return
    console = output.console()
    extra = len(run.state.holds) + len(run.open_findings) + len(run.at_work) + _lines_beside(run)
    room = console.height - _STATUS_LINES - extra if console.is_terminal else None
    print_status(console, run, now_seconds=found.now_seconds, room=room)


def show_task(output: OutputStreams, story: TaskStory) -> None:
    """Print a task's story."""
    if output.json_lines:
        output.records([story.as_json()], "show.completed")
        return
    with output.paged() as target:
        print_task(output.console(target), story)


def show_inbox(output: OutputStreams, found: Sequence[RunOverview | UnreadableRun]) -> None:
    """Print what waits for a person."""
    runs = [run for run in found if isinstance(run, RunOverview)]
    for run in found:
        if isinstance(run, UnreadableRun):
            output.note(run.why)
    if output.json_lines:
        output.records((line for run in runs for line in _items(run)), "inbox.completed")
    elif runs:
        print_inbox(output.console(), runs)
    else:
        output.note("nothing waits for you")


def _items(run: RunOverview) -> list[JSONObject]:
    return [
        {"type": "item", "run": run.record.run_id, "item": item, "question": hold.question, "task": hold.task_id}
        for item, hold in run.state.holds.items()
    ]


def print_runs(console: Console, runs: Sequence[RunOverview | UnreadableRun], *, now_seconds: float) -> None:
    """Print a line for each run."""
    names = ("run", "state", "age", "tasks", "cost", "credits")
    rows = [[Text(name, style="dim") for name in names]]
    for run in runs:
        if isinstance(run, UnreadableRun):
            word, done, spent, credits_ = UNREADABLE, "-", "-", "-"
        else:
            word, done = run.word, f"{run.merged}/{len(run.counted)}"
            spent = cost(run.progress.usd, run.progress.unknown)
            credits_ = credit_count(run.progress.credits) if run.progress.credits else "-"
        rows.append(
            [
                foreign(run.record.run_id),
                Text(in_words(word), style=STATE_STYLES.get(word, "")),
                Text(age(now_seconds - run.record.created_at_seconds)),
                Text(done),
                Text(spent),
                Text(credits_),
            ]
        )
    if all(row[-1].plain == "-" for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    lines = columns(rows, right={2, 3, 4, 5})
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
    for item, hold in run.holds.items():
        _fact(console, foreign(f"waits   {item}: {_one_line(hold.question)}", style="yellow"))
    _fact(console, foreign(f"phase   {_phase(run)}"))
    reason = run.state.result_reason or (run.state.stop.reason if run.state.stop else "")
    if run.word == "cleaned":
        reason = "cleaned: it cannot be resumed; codexteam salvage lists what is left of its work"
    if run.word == "rewound":
        reason = "rewound: another run took its place (codexteam runs); its branch and its work are kept"
    if wrong := run.life.trouble or run.broken_off:
        _fact(console, foreign(f"reason  {_one_line(wrong)}"))
    elif reason and not run.live:
        _fact(console, foreign(f"reason  {_one_line(reason)}", style="yellow" if run.waived_findings else ""))
    work = elapsed(run.progress.worked_seconds(run.progress.now_seconds))
    _line(console, Text(f"time    began {age(now_seconds - run.record.created_at_seconds)} ago, {work} at work"))
    budget = f" of {run.progress.budget}" if run.progress.budget else ""
    in_credits = f", {credit_words(run.progress.credits)}" if run.progress.credits else ""
    spent = f"{money(run.progress.usd)}{budget}{in_credits}"
    _line(console, foreign(f"cost    {spent}, {usage_words(run.progress.usage)}"))
    plan = run.progress.plan
    for said in filter(None, (priced_words(run.progress), forecast_words(run.progress), plan.windows, plan.credits)):
        _line(console, foreign(f"        {said}"))
    if unknown := unknown_words(run.progress.unknown):
        _line(console, Text(f"        {unknown}", style="yellow"))
    _tasks(console, run, room)
    if run.state.gates:
        _fact(console, Text("gates   ").append_text(_gates(run)))
    _ran(console, run)
    _commands(console, run)
    _findings(console, run)
    _left_behind(console, run)
    _agents(console, run, now_seconds)
    for running in run.progress.commands.values() if run.live else ():
        _fact(console, foreign(f"runs    {_one_line(running_words(running, now_seconds))}"))
    if run.branch:
        _line(console, Text(f"branch  {run.branch} {run.branch_words}"))
    for command in next_commands(run):
        _line(console, Text("next    ").append(command, style="bold"))


def _agents(console: Console, run: RunOverview, now_seconds: float) -> None:
    for name in run.at_work:
        agent, stalled = run.progress.agents[name], run.life.stalls(name)
        doing = doing_words(agent, run.life.activity(name), now_seconds, stalled=stalled)
        head = f"agent   {name}, turn {agent.turn}, {elapsed(now_seconds - agent.started_at_seconds)}"
        _line(console, foreign(f"{head}: {_one_line(doing)}", style="yellow" if stalled else ""))
    for one in run.waiting_agents:
        words = f"{DOING_WORDS[one.doing]} for {elapsed(max(0.0, now_seconds - one.since_seconds))}"
        detail = f": {_one_line(one.detail)}" if one.detail else ""
        _line(
            console,
            foreign(f"agent   {one.agent}: {words}{detail}", style="yellow" if one.doing is Doing.PERSON else ""),
        )


def _lines_beside(run: RunOverview) -> int:
    """Return how many lines there are of what gates ran and warn of, and of an answer."""
    ran = sum(len(record.commands) for record in run.state.gates.values())
    return (
        ran
        + len(run.state.risks)
        + len(run.state.answer.splitlines())
        + (1 + _BASE_LINES) * len(run.progress.failed_before)
    )


def _ran(console: Console, run: RunOverview) -> None:
    """Print the commands of gates: ci_runner's as observed, QA's as its agent reports them."""
    for gate, record in run.state.gates.items():
        said = "ran   " if gate is GateName.CI else "qa ran"
        for one in record.commands:
            words = f"{said}  `{_one_line(one.command)}` {'passed' if one.ok else 'failed'}: {_one_line(one.how)}"
            _fact(console, foreign(words, style="none" if one.ok else "yellow"))


def _left_behind(console: Console, run: RunOverview) -> None:
    """Print what a run leaves beside its verdicts: an answer, a changed plan, risks, documentation, release notes."""
    state = run.state
    for line in state.answer.strip().splitlines():
        _fact(console, foreign(f"answer  {line}" if line else ""))
    for change in state.plan_changes if state.phase is RunPhase.APPROVING else ():
        _fact(console, foreign(f"changed {_one_line(change)}", style="yellow"))
    for number, risk in enumerate(state.risks):
        _fact(console, foreign(f"{'risks ' if number == 0 else '      '}  {_one_line(risk)}"))
    if why := unwritten_documentation(state) if state.result is not None else state.documentation_failure:
        _fact(console, foreign(f"docs    not written: {_one_line(why)}", style="yellow"))
    if state.release_notes:
        _fact(console, foreign(f"notes   {state.release_notes}"))


def _gates(run: RunOverview) -> Text:
    """Return the newest verdicts; where all are on one commit it is said once."""
    found = [(gate, run.state.gates[gate]) for gate in GateName if gate in run.state.gates]
    commits = {record.commit for _, record in found}
    parts = []
    for gate, record in found:
        part = Text(f"{gate.value}{GLUE}")
        part.append(record.verdict.value, style=_VERDICT_STYLES.get(record.verdict.value, ""))
        if record.confidence:
            part.append(f"{GLUE}({record.confidence}{GLUE}confidence)")
        parts.append(part if len(commits) == 1 else part.append(f"{GLUE}at{GLUE}{record.commit[:10]}"))
    line = Text(", ").join(parts)
    return line.append(f" at{GLUE}{commits.pop()[:10]}") if len(commits) == 1 else line


def _phase(run: RunOverview) -> str:
    state = run.state
    words = state.phase.value
    if run.word in {"cleaned", "rewound"}:
        return f"stopped in: {words}; base {run.record.base[:10]}"
    if not run.live and run.word != "waiting" and state.phase not in {RunPhase.NEW, RunPhase.FINISHED}:
        words = f"stopped in: {words}"  # nobody is at it any more
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
        if known.open_contest is not None:
            line.append(f": {known.open_contest.words}", style="dim")
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
    for finding_id in [*run.open_findings, *run.waived_findings]:
        known = next(k for i, k in run.state.findings.items() if i == finding_id)
        finding = known.finding
        is_open = known.status is FindingStatus.OPEN
        word = finding.severity.value if is_open else known.status.value
        place = f" {finding.file}:{finding.line}" if finding.file and finding.line else f" {finding.file or ''}"
        _line(
            console,
            foreign(f"  {finding_id} {word}: {_one_line(finding.title)}{place}", style="red" if is_open else "yellow"),
        )


def _commands(console: Console, run: RunOverview) -> None:
    """Print the commands that fail, failed before the run, or cannot run."""
    for row in run.progress.failed_before:
        _fact(console, foreign(f"before  `{_one_line(row.command)}`: {_one_line(row.words)}", style="yellow"))
        for line in [line for line in row.output.splitlines() if line.strip()][-_BASE_LINES:]:
            _line(console, foreign(f"        | {line}", style="dim"))
    for row in run.progress.unrunnable:
        said = f"cannot  `{_one_line(row.command)}`: {_one_line(row.reason)}; {row.to_do}"
        _fact(console, foreign(said, style="red"))
    for failing in run.failing:
        style = "yellow" if failing.as_before else "red"
        _fact(console, foreign(f"fails   `{_one_line(failing.command)}`: {_one_line(failing.reason)}", style=style))


def next_commands(run: RunOverview) -> list[str]:
    """Return the commands that a user would type next."""
    if run.live:
        return next_answers(run.state.holds) or ["codexteam logs -f"]
    match run.word:
        case "green":
            return ["codexteam diff", "codexteam apply"] if run.branch else []
        case "waiting" if (run.record.settings.get("plan_only") is True or run.state.plan_only) and plan_waits(
            run.state
        ):
            return ["codexteam resume  # works on the plan; edit plan.md first if you like", OTHER_ANSWERS]
        case "waiting":
            return [*next_answers(run.state.holds), "codexteam resume"]
        case "limit":
            return [run.progress.next_command or "codexteam resume --budget ..."]
        case "cleaned" | "answered" | "rewound":
            return []
        case "not_green":
            failed = [str(i) for i, known in run.state.tasks.items() if known.phase is TaskPhase.FAILED]
            return after_not_green(failed, run.open_findings)
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
    _contest(console, story)
    if known.unchanged:
        _fact(console, Text("merged  without a change: no file is another one for it"))
    elif story.merged_as:
        _fact(console, Text(f"merged  as {story.merged_as[:10]}"))
    if task.description:
        console.print()
        for text in task.description.splitlines():
            _fact(console, Text("  ").append_text(foreign(text)), indent=2)
    for attempt in story.attempts:
        console.print()
        _attempt(console, attempt)


def _contest(console: Console, story: TaskStory) -> None:
    contest = story.known.contest
    if contest is None:
        return
    _fact(console, foreign(f"best of {len(contest.contenders)}: {_one_line(contest.words)}"))
    if contest.tests is not None:
        _fact(console, foreign(f"hidden  tests: {_one_line(contest.tests.note)}"))
    took = f"{worth(story.beside.usd, story.beside.credits)}, {usage_words(story.beside.usage)}"
    _fact(console, foreign(f"beside  QA's hidden tests and a judge: {took}"))


def _attempt(console: Console, attempt: AttemptStory) -> None:
    head = Text(f"attempt {attempt.number}", style="bold")
    head.append_text(foreign(f" {attempt.kind}: {_one_line(attempt.outcome) or 'at work'}", style="none"))
    _fact(console, head)
    if attempt.started_at_seconds:
        began = datetime.fromtimestamp(attempt.started_at_seconds, UTC)
        took = elapsed(attempt.ended_at_seconds - attempt.started_at_seconds)
        spent = (
            f"{count_of(attempt.turns, 'turn')}, {worth(attempt.usd, attempt.credits)}, {usage_words(attempt.usage)}"
        )
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
    waiting = Counter(item for run in runs for item in run.state.holds)
    for run in runs:
        for item, hold in run.state.holds.items():
            named = f"{item} --run {run.record.run_id}" if waiting[item] > 1 else item
            _line(console, foreign(item, style="bold yellow"), foreign(f"  {_one_line(run.record.goal)}", style="dim"))
            for text in hold.question.splitlines():
                console.print(Text("  ").append_text(foreign(text)), soft_wrap=True)
            for command in (*look_at(item), *answers_to(item)):
                told_apart = command.replace(f" {item}", f" {named}", 1)
                console.print(Text("    ").append(told_apart, style="bold"), soft_wrap=True)


def _fact(console: Console, line: Text, *, indent: int | None = None) -> None:
    """Print a line that is never cut."""
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
