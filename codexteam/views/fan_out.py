"""What is shown of one goal in several repositories: lines while the runs are at work, one table at the end."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from codexteam.app.fan_out import FannedRun
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import describe
from codexteam.views.formatting import cost, foreign
from codexteam.views.layout import columns, print_wrapped
from codexteam.views.pipe_guard import SteadyConsole, tethered
from codexteam.views.streams import OutputStreams, fit, reader_gone
from codexteam.views.summary import next_commands, result_colour, result_words

_HEAD = ("repository", "result", "merged", "cost", "branch")


@dataclass(slots=True)
class FanOutView:
    """Shows several runs side by side."""

    output: OutputStreams
    quiet: bool = False
    _silent: bool = False
    """Whoever read standard output has gone."""

    def line(self, run: FannedRun, record: JSONObject, event: RunEvent | None) -> None:
        """Print a record of a run, with the repository's name; in words, where people read it."""
        if self.output.json_lines:
            self._record({"repository": run.name, **record})
            return
        words = describe(event) if event is not None and not self.quiet and event.kind != "run.broken_off" else ""
        if event is not None and words:
            at = datetime.fromtimestamp(event.at_seconds, UTC)
            self._say(f"{at:%H:%M:%S} {run.name}: {clean_line(words)}")

    def warned(self, run: FannedRun, text: str) -> None:
        """Print a warning."""
        self._say(f"warning: {run.name}: {clean_line(text)}")

    def ended(self, runs: Sequence[FannedRun], exit_code: int) -> None:
        """Print how all runs ended."""
        if self.output.json_lines:
            self._record({"type": "fan_out", "exit_code": exit_code, "repositories": [_as_json(run) for run in runs]})
            return
        console = SteadyConsole(
            file=tethered(self.output.out),
            force_terminal={"always": True, "never": False}.get(self.output.color),
            no_color=True if self.output.color == "never" else None,
            highlight=False,
        )
        _print_table(console, runs)

    def _say(self, text: str) -> None:
        try:
            self.output.err.write(f"{fit(text, self.output.err)}\n")
            self.output.err.flush()
        except OSError:
            return  # each run keeps what happened in its journal

    def _record(self, fields: JSONObject) -> None:
        if self._silent:
            return
        try:
            self.output.out.write(json.dumps(fields, separators=(",", ":")) + "\n")
            self.output.out.flush()
        except BrokenPipeError:
            self._silent = True
            reader_gone(self.output.out)


def _result(run: FannedRun) -> str:
    if run.exit_code is None:
        return "not begun"
    return result_words(run.progress.result) if run.progress.result else "broke off"


def _merged(run: FannedRun) -> str:
    tasks = [task for task in run.progress.tasks.values() if task.status != "dropped"]
    done = sum(task.status == "merged" for task in tasks)
    return f"{done} of {len(tasks)}" if tasks else "-"


def _print_table(console: Console, runs: Sequence[FannedRun]) -> None:
    rows = [[Text(name, style="dim") for name in _HEAD]]
    for run in runs:
        progress = run.progress
        spent = Text(cost(progress.usd, progress.unknown) if progress.agents else "-")
        style = result_colour(progress.result)
        rows.append(
            [
                foreign(run.name),
                Text(_result(run), style=style),
                Text(_merged(run)),
                spent,
                foreign(progress.branch or "-"),
            ]
        )
    for line in columns(rows, right={3}):
        console.print(line, soft_wrap=True)
    width = max(len(run.name) for run in runs)
    for run in runs:
        why = run.problem or ("" if run.progress.result in {"green", "answered"} else run.progress.reason)
        if why:
            print_wrapped(console, foreign(f"why     {run.name.ljust(width)}  {why}"), indent=10 + width)
    for run in runs:
        if run.pull:
            console.print(foreign(f"pull    {run.name.ljust(width)}  {run.pull}"), soft_wrap=True)
    for run in runs:
        for typed in _next(run):
            program, _, rest = typed.partition(" ")
            command = f"{program} -C {shlex.quote(str(run.place))} {rest}"
            console.print(Text("next    ").append(clean_line(command), style="bold"), soft_wrap=True)


def _next(run: FannedRun) -> Sequence[str]:
    """Return what to type next in a run's repository, if there is anything."""
    if run.exit_code is None:
        return ()
    if run.progress.result:
        return next_commands(run.progress)[-1:]
    return (f"codexteam resume {run.progress.run_id}",) if run.progress.run_id else ()


def _as_json(run: FannedRun) -> JSONObject:
    progress = run.progress
    counted = [task for task in progress.tasks.values() if task.status != "dropped"]
    merged: JSONValue = sum(task.status == "merged" for task in counted)
    return {
        "repository": run.name,
        "path": str(run.place),
        "run": progress.run_id or None,
        "result": progress.result or None,
        "exit_code": run.exit_code,
        "reason": run.problem or progress.reason,
        "tasks": len(counted),
        "merged": merged,
        "branch": progress.branch or None,
        "commit": progress.commit or None,
        "pull_request": run.pull or None,
        "usd": progress.usd,
        "credits": progress.credits,
        "tokens": progress.usage.total_tokens,
        "unknown": progress.unknown.as_json(),
    }
