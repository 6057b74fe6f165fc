"""An evaluation as one HTML file, as a run's report is: no script, no request, all foreign text escaped."""

from codexteam import __version__
from codexteam.report.eval_report import EvalReport
from codexteam.views.evaluation import amount_words, chance_words, comparison_words, interval_words, percent, rate_words
from codexteam.views.report.html import template


def render_evaluation(report: EvalReport) -> str:
    """Return the evaluation as a page."""
    return template("eval.html.j2").render(
        report=report,
        percent=percent,
        interval=interval_words,
        rate=rate_words,
        chances=chance_words,
        amount=amount_words,
        comparison=comparison_words,
        version=__version__,
    )
