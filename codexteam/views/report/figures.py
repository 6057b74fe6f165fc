"""Durations, moments and other figures as a report shows them."""

from datetime import UTC, datetime

from codexteam.report.comparison import FigureUnit
from codexteam.views.formatting import credit_count, money, share, tokens


def duration(seconds: float) -> str:
    """Return a duration in the units that fit it: `0.42 s`, `38 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def moment(at_seconds: float) -> str:
    """Return a moment in UTC."""
    return f"{datetime.fromtimestamp(at_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def figure_words(value: float | None, unit: FigureUnit) -> str:
    """Return a figure in its unit; an unknown one is said."""
    if value is None:
        return "unknown"
    match unit:
        case FigureUnit.SECONDS:
            return duration(value)
        case FigureUnit.TOKENS:
            return tokens(int(value))
        case FigureUnit.USD:
            return money(value)
        case FigureUnit.CREDITS:
            return credit_count(value)
        case FigureUnit.SHARE:
            return share(value)
        case FigureUnit.COUNT:
            return f"{value:g}"


def change_words(ratio: float | None) -> str:
    """Return how one figure differs from another, as a percentage; empty where that says nothing."""
    return "" if ratio is None else f"{100 * (ratio - 1):+.0f} %"
