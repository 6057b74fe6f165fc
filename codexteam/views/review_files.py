"""A review's findings in a file, in the format that its name says."""

import json
from pathlib import Path

from codexteam.app.reports import run_report, write_report
from codexteam.app.review import NothingToReview
from codexteam.app.run import RunResult
from codexteam.core.ids import JSONObject
from codexteam.errors import InternalError
from codexteam.views.report.sarif import render_no_findings, render_sarif
from codexteam.views.review import nothing_json, render_nothing_markdown, render_review_markdown


def write_findings(result: RunResult | NothingToReview, file: Path) -> None:
    """Write what a review found; where there was nothing to review, that nothing was found.

    Raises:
        SurroundingsError: the file cannot be written.
    """
    write_report(_text(result, file.suffix.lower()), "", file)


def _text(result: RunResult | NothingToReview, ending: str) -> str:
    if isinstance(result, NothingToReview):
        return _nothing(result.title, ending)
    if result.review is None or result.project is None:
        raise InternalError("there is no review to write")
    match ending:
        case ".sarif":
            return render_sarif(run_report(result.project, result.run_id))
        case ".json":
            return _json({**result.review.as_json(), "exit_code": result.exit_code})
        case _:
            return render_review_markdown(result.review, result.progress)


def _nothing(title: str, ending: str) -> str:
    match ending:
        case ".sarif":
            return render_no_findings()
        case ".json":
            return _json(nothing_json(title))
        case _:
            return render_nothing_markdown(title)


def _json(fields: JSONObject) -> str:
    return json.dumps(fields, indent=1) + "\n"
