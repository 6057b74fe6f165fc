"""How a run is shown where a pipeline runs it: in its log while it is at work, and at its end in all that the job leaves."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from codexteam.app.ci.handover import NOT_PUBLISHED, hand_over
from codexteam.app.ci.surroundings import CiSurroundings
from codexteam.app.run import RunResult
from codexteam.app.several import members_of
from codexteam.core.budget_amounts import Unit, short_amount
from codexteam.core.forecast import Forecast
from codexteam.core.ids import JSONObject
from codexteam.errors import InternalError
from codexteam.ports.reporter import Reporter
from codexteam.report.pipeline_outcome import PipelineOutcome, ended_outcome
from codexteam.report.progress import Progress
from codexteam.report.run_report import RunReport
from codexteam.views.ci.annotations import annotations_of
from codexteam.views.ci.job_files import add_outputs, add_summary, write_result, write_run_files
from codexteam.views.ci.log_commands import Annotation, CiLog, GroupedLines
from codexteam.views.ci.plan_markdown import render_plan_markdown
from codexteam.views.plan import plan_json
from codexteam.views.report.markdown import render_markdown, safe
from codexteam.views.report.pull_request import render_pull_request
from codexteam.views.review import nothing_json, render_nothing_markdown, render_review_markdown

#: What a run that could not begin or continue is called.
_ERROR = "error"


@dataclass(slots=True)
class PipelineView:
    """What a command that runs in a pipeline shows beside what every command shows."""

    surroundings: CiSurroundings
    command: str
    """`run`, `plan`, `resume` or `review`."""
    err: TextIO = field(default_factory=lambda: sys.stderr)
    """The log, as the system reads it."""
    _log: CiLog | None = None
    _left: "tuple[PipelineOutcome, JSONObject] | None" = None
    """What the command's end has left, and what may follow it still changes."""

    @property
    def log(self) -> CiLog:
        if self._log is None:
            self._log = CiLog(self.surroundings.system)
        return self._log

    def grouped(self, lines: Reporter, progress: Progress) -> Reporter:
        """Return a run's lines in groups."""
        return GroupedLines(lines, self.err, self.log, progress)

    def ended(self, result: RunResult) -> int:
        """Leave all that a run came to, and return the exit code: that of the run, or of a limit that was passed."""
        if result.project is None:
            raise InternalError("a run in a pipeline has no project")
        folder, plan = self.surroundings.artifacts, result.plan
        outcome = self._outcome(result)
        report = write_run_files(folder, result.project, result.run_id, planned=plan is not None)
        if plan is None and result.review is None:
            hand_over(result.project, report, partial(render_pull_request, report), folder)
        add_summary(self.surroundings, _summary(result, report, outcome))
        more: JSONObject = {}
        if plan is not None:
            more = {"plan": plan_json(plan)}
        elif result.review is not None:
            more = {"review": result.review.as_json()}
        roots = {each.name: each.places.root for each in members_of(report.run.record, result.project.environment)}
        self._leave(outcome, report, more, roots=roots or {"": result.project.places.root})
        return outcome.exit_code

    def _outcome(self, result: RunResult) -> PipelineOutcome:
        word, over = result.progress.result or "ended", ""
        if result.plan is not None:
            over = "; ".join(filter(None, (result.plan.over_budget, _unknown(result.plan.forecast, result.limits))))
            word = "over_limit" if over else "planned"
        elif result.review is not None:
            word = result.review.verdict or "no_verdict"
        return ended_outcome(
            self.command, word, result.exit_code, result.progress, limits=result.limits, forecast_over=over
        )

    def nothing_to_review(self, title: str) -> None:
        """Leave that a change changes nothing."""
        add_summary(self.surroundings, render_nothing_markdown(title))
        self._leave(PipelineOutcome(self.command, "ship", "", 0), None, {"review": nothing_json(title)})

    def broke_off(self, message: str, hint: str, exit_code: int) -> None:
        """Leave why a command could not begin or continue."""
        reason = f"{message}\n{hint}" if hint else message
        add_summary(self.surroundings, f"# codexteam {self.command}: error\n\n{safe(reason, most_chars=2_000)}\n")
        self._leave(PipelineOutcome(self.command, _ERROR, reason, exit_code), None, {})

    def published(self, pulls: Sequence[str]) -> None:
        """Add the addresses of the pull requests that a green run got to what the job leaves."""
        if self._left is not None:
            outcome, more = self._left
            write_result(self.surroundings.artifacts, outcome, {**more, "pull_requests": [*pulls]})

    def not_published(self, message: str, hint: str, exit_code: int) -> None:
        """Leave that a run ended well, and that its pull request could not be opened."""
        if self._left is None:
            self.broke_off(message, hint, exit_code)
            return
        reason = f"{message}\n{hint}" if hint else message
        outcome, more = self._left
        failed = replace(outcome, result=NOT_PUBLISHED, reason=reason, exit_code=exit_code)
        add_summary(
            self.surroundings, f"**The pull request was not opened**: {safe(reason, most_chars=2_000)}\n", more=True
        )
        self._leave(failed, None, more)

    def _leave(
        self,
        outcome: PipelineOutcome,
        report: RunReport | None,
        more: JSONObject,
        *,
        roots: Mapping[str, Path] | None = None,
    ) -> None:
        """Leave the values and the notes; `roots` are those of the repositories by name, of one without a name."""
        if outcome.over_limits:
            self.err.write(f"over the limit: {outcome.over_limits}\n")
        self._left = outcome, more
        write_result(self.surroundings.artifacts, outcome, more)
        add_outputs(self.surroundings, outcome)
        for note in annotations_of(report, outcome, roots=roots or {}, workspace=self.surroundings.workspace):
            self._annotate(note)

    def _annotate(self, note: Annotation) -> None:
        self.err.write(self.log.annotation(note))
        self.err.flush()


def _unknown(forecast: Forecast, limits: Mapping[Unit, int]) -> str:
    """Say which limits a forecast cannot be held against: what was not checked has not passed."""
    unknown = [unit for unit in limits if forecast.of(unit).expected is None]
    return "; ".join(f"the forecast is unknown, {short_amount(unit, limits[unit])} allowed" for unit in unknown)


def _summary(result: RunResult, report: RunReport, outcome: PipelineOutcome) -> str:
    if result.plan is not None:
        return render_plan_markdown(result.plan, result.progress, outcome)
    over = f"**Over the limit**: {safe(outcome.over_limits)}.\n\n" if outcome.over_limits else ""
    if result.review is not None:
        return over + render_review_markdown(result.review, result.progress)
    return over + render_markdown(report)
