"""How `run`, `plan`, `resume` and `demo` are shown: what happens while it does, and how it ended."""

import io
import json
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from codexteam.app.project import Project
from codexteam.app.run import RunResult
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.text import clean
from codexteam.errors import CodexteamError
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.report.progress import Progress
from codexteam.report.review_outcome import ReviewOutcome
from codexteam.views.alerts import alert_sequence
from codexteam.views.formatting import foreign
from codexteam.views.layout import print_wrapped
from codexteam.views.live.live_view import LEFT, LiveView, abilities, own_run
from codexteam.views.pipe_guard import ReaderWatch, Steady, SteadyConsole, tethered
from codexteam.views.plain import JsonLines, PlainLines, Quiet
from codexteam.views.plan import plan_json, print_plan
from codexteam.views.report.files import keep_report, load_report
from codexteam.views.streams import fit
from codexteam.views.summary import print_summary

if TYPE_CHECKING:
    from codexteam.views.ci.pipeline_view import PipelineView

#: The width of the summary in a file.
_FILE_COLUMNS = 100
#: Exit codes of a session that was told to end for good, as when the machine goes down: it does nothing more.
_SHUT_DOWN = (129, 143)
#: Exit codes of a run that a signal ended.
_INTERRUPTED = (129, 130, 143)


@dataclass(slots=True)
class RunView:
    """Shows a run on the terminal, in lines, or to programs."""

    json_lines: bool = False
    quiet: bool = False
    color: str = "auto"
    last_message: Path | None = None
    """Where the final summary is written too, as plain text."""
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    environment: Mapping[str, str] = field(default_factory=dict)
    """What says which terminal it is."""
    pipeline: "PipelineView | None" = None
    """What is shown and left besides, where a pipeline runs it: nobody is there to be asked, and nothing is drawn."""
    _console: Console | None = None
    _noted: set[str] = field(default_factory=set)
    """What was said before there was a run to say it."""
    _live: LiveView | None = None
    """The screen of the run, while there is one."""
    _progress: Progress | None = None
    _broken_off: tuple[Project, RunId] | None = None
    _place: Path | None = None
    """Where the run's repository is, if it is not where the user stands."""

    def in_pipeline(self, pipeline: "PipelineView") -> "RunView":
        """Show it where a pipeline runs it, whose log obeys nothing of what is printed."""
        from codexteam.views.ci.log_commands import inert_stream

        self.pipeline = pipeline
        self.out, self.err = inert_stream(self.out), inert_stream(self.err)
        return self

    @property
    def can_ask(self) -> bool:
        """Whether a person can be asked: both ends are a terminal, and nobody reads JSON from it."""
        if self.pipeline is not None:
            return False
        return not self.json_lines and sys.stdin is not None and sys.stdin.isatty() and self.out.isatty()

    @property
    def for_programs(self) -> bool:
        return self.json_lines

    @property
    def console(self) -> Console:
        """The console for people: standard error with `--json`, whose output is for programs."""
        if self._console is None:
            force = {"always": True, "never": False}.get(self.color)
            stream = self.err if self.json_lines else self.out
            no_color = True if self.color == "never" else None
            self._console = SteadyConsole(
                file=tethered(stream), force_terminal=force, no_color=no_color, highlight=False
            )
        return self._console

    def note(self, text: str) -> None:
        """Write a line to standard error; who does not read it any more misses nothing: the run keeps its notices."""
        self._noted.add(text.removeprefix("warning: ").removeprefix("note: "))
        if self._live is not None and self._live.note(text):
            return  # printed once the screen is gone
        with suppress(OSError):
            self.err.write(f"{fit(clean(text), self.err)}\n")
            self.err.flush()

    def alert(self, text: str, method: str) -> None:
        """Ring, or show a notification of the terminal, where a person has the run on it."""
        console = self.console
        if self.json_lines or self.quiet or not console.is_terminal or console.is_dumb_terminal:
            return
        sequence = alert_sequence(text, method, self.environment)
        if self._live is not None and self._live.send(sequence):
            return  # between two drawings
        with suppress(OSError):
            console.file.write(sequence)
            console.file.flush()

    def reporter(
        self,
        progress: Progress,
        project: Project,
        run_id: RunId,
        *,
        clock: Clock,
        blocked: Callable[[float | None], None],
    ) -> Reporter:
        """Return the view of a run that fits where it is shown."""
        self._progress = progress
        if self.json_lines:
            lines = JsonLines(tethered(self.out), run_id)
            watch = ReaderWatch(blocked, clock.wall_seconds)
            return _Both(Steady(lines, self.out, watch), Quiet(progress))
        if self.quiet:
            return Quiet(progress)
        if self.console.is_terminal and not self.console.is_dumb_terminal and self.pipeline is None:
            able = abilities(project.environment, color=self.color, encoding=self.out.encoding or "")
            board = own_run(project, run_id, progress, able, clock.wall_seconds)
            # now, while it can be told that this is a terminal: it may be left because it was closed
            after = partial(self._lines_after_screen, tethered(self.err), progress, clock, blocked)
            self._live = LiveView(board, self.out, able, clock=clock, lines=after)
            return _Unsaid(self._live, self._noted)
        return _Unsaid(self._lines(tethered(self.err), progress, clock, blocked), self._noted)

    def _lines(
        self, err: TextIO, progress: Progress, clock: Clock, blocked: Callable[[float | None], None]
    ) -> Reporter:
        watch = ReaderWatch(blocked, clock.wall_seconds)
        lines: Reporter = PlainLines(err, progress)
        if self.pipeline is not None:
            lines = self.pipeline.grouped(lines, progress)
        return Steady(lines, self.err, watch)

    def _lines_after_screen(
        self, err: TextIO, progress: Progress, clock: Clock, blocked: Callable[[float | None], None]
    ) -> Reporter:
        """Return what prints lines once a person has left the screen."""
        for text in (*(self._live.kept_notes() if self._live is not None else ()), LEFT):
            self.note(text)
        return self._lines(err, progress, clock, blocked)

    def broke_off(self, project: Project, run_id: RunId) -> None:
        self._broken_off = (project, run_id)

    def show(self, run: Callable[[], RunResult]) -> int:
        """Let a run happen, and show how its session ended; one that breaks off leaves its report, too."""
        try:
            with self.leaving_errors():
                result = run()
        except Exception as error:
            self._print_kept_notes()
            code = error.exit_code if isinstance(error, CodexteamError) else 1
            if self._broken_off is not None and code not in _SHUT_DOWN and self._has_agents():
                from codexteam.views.report.files import keep_report

                kept = keep_report(*self._broken_off)
                if not kept.problem:  # else what broke the session off is all there is to say
                    self.note(f"report: {kept.file}")
            raise
        return self.show_result(result)

    @contextmanager
    def leaving_errors(self) -> Iterator[None]:
        """Leave why a command ends with an error to the pipeline that runs it."""
        try:
            yield
        except CodexteamError as error:
            if self.pipeline is not None:
                self.pipeline.broke_off(str(error), error.hint, error.exit_code)
            raise

    def _has_agents(self) -> bool:
        return self._progress is not None and bool(self._progress.agents)

    def _print_kept_notes(self) -> None:
        """Print what was shown on the screen alone."""
        if self._live is not None:
            live, self._live = self._live, None
            for text in live.kept_notes():
                self.note(text)

    def load_ahead(self) -> None:
        """Load what the result is shown with."""
        load_report()

    def show_result(self, result: RunResult) -> int:
        """Write the run's report, show how its session ended, and return its exit code."""
        self._print_kept_notes()
        report = self._keep_report(result)
        if result.review is not None:
            self._show_review(result, result.review, report)
        elif result.plan is not None and self.json_lines:
            line: JSONObject = {"kind": "plan", "run": result.run_id, **plan_json(result.plan)}
            self.out.write(json.dumps(line) + "\n")
        elif result.plan is not None:
            print_plan(self.console, result.plan, result.progress)
        elif not self.json_lines:
            print_summary(self.console, result.progress, folder=str(result.folder), report=report, place=self._place)
        if self.last_message is not None:
            self._write_last(result, self.last_message, report)
        return result.exit_code if self.pipeline is None else self.pipeline.ended(result)

    def show_nothing_to_review(self, title: str) -> int:
        """Say that a change changes nothing, which does not stop a pipeline."""
        from codexteam.views.review import nothing_json

        if self.json_lines:
            self.out.write(json.dumps({"kind": "review", **nothing_json(title)}) + "\n")
        else:
            print_wrapped(self.console, foreign(f"nothing to review: {title}: no file differs"), indent=0)
        if self.pipeline is not None:
            self.pipeline.nothing_to_review(title)
        return 0

    def _show_review(self, result: RunResult, found: ReviewOutcome, report: str) -> None:
        from codexteam.views.review import print_review

        if self.json_lines:
            self.out.write(json.dumps({"kind": "review", **found.as_json(), "exit_code": result.exit_code}) + "\n")
        else:
            print_review(self.console, found, result.progress, folder=str(result.folder), report=report)

    def _keep_report(self, result: RunResult) -> str:
        """Write the report into the run's folder and return its path; that it cannot be written ends nothing."""
        if result.project is None or result.plan is not None or result.exit_code in _SHUT_DOWN:
            return ""
        kept = keep_report(result.project, result.run_id)
        if kept.problem:
            self.note(f"the report could not be written: {kept.problem}")
            return ""
        if self.json_lines and not self.quiet:
            self.note(f"report: {kept.file}")
        return str(kept.file)

    def _write_last(self, result: RunResult, file: Path, report: str) -> None:
        """Write what a person would read at the end: the answer to a question, a plan, or the summary."""
        text = io.StringIO()
        console = Console(file=text, width=_FILE_COLUMNS, no_color=True, highlight=False, force_terminal=False)
        if result.progress.answer and result.progress.result == "answered":
            text.write(f"{clean(result.progress.answer).strip()}\n")
        elif result.plan is not None:
            print_plan(console, result.plan, result.progress)
        elif result.review is not None:
            from codexteam.views.review import print_review

            print_review(console, result.review, result.progress, folder=str(result.folder), report=report)
        else:
            print_summary(console, result.progress, folder=str(result.folder), report=report, place=self._place)
        try:
            file.write_text(text.getvalue(), encoding="utf-8")
        except OSError as error:
            self.note(f"{file}: the final summary could not be written: {error.strerror}")

    def show_demo(self, folder: Path, goal: str) -> None:
        """Show what the demo works on."""
        self._place = folder
        if not self.quiet:
            print_wrapped(self.console, foreign(f"A copy of the sample repository is in {folder}"), indent=2)
            print_wrapped(self.console, foreign(f"The goal: {goal}"), indent=2)
            self.console.print()

    def show_demo_end(self, folder: Path, code: int) -> None:
        """Show where to look after the demo."""
        place = shlex.quote(str(folder))
        if code in _INTERRUPTED:
            self.note(f"\nTo continue the demo:\n  codexteam -C {place} resume")
        elif code != 0:
            self.note(f"\nThe demo did not end green. {_left_in(place)}")
        elif not self.quiet:
            what = "The model was a recording; git, sandboxes, tests and gates were real. Look:"
            print_wrapped(self.console, foreign(what), indent=0)
            for command in (f"cd {place}", "cat plan.md; git log --graph --oneline --all"):
                self.console.print(foreign(f"  {command}"), soft_wrap=True)

    def show_demo_failure(self, folder: Path) -> None:
        """Show where a demo that ended with an error left its files."""
        self.note(_left_in(shlex.quote(str(folder))))


def _left_in(place: str) -> str:
    return (
        f"All it left, for a look at what went wrong, is in {place}:\n"
        f"  codexteam -C {place} status\n  codexteam -C {place} logs"
    )


class _Both:
    """Two reporters as one."""

    def __init__(self, one: Reporter, other: Reporter) -> None:
        self._both = (one, other)

    def report(self, event: RunEvent) -> None:
        for reporter in self._both:
            reporter.report(event)

    def close(self) -> None:
        for reporter in self._both:
            reporter.close()


class _Unsaid:
    """A reporter that leaves out notices which the user has read already."""

    def __init__(self, inner: Reporter, said: Collection[str]) -> None:
        self._inner = inner
        self._said = said

    def report(self, event: RunEvent) -> None:
        if event.kind != "notice" or event.fields.get("text") not in self._said:
            self._inner.report(event)

    def close(self) -> None:
        self._inner.close()
