"""`metrics`: figures over all runs of a repository, from a moment on."""

import asyncio
import calendar
import re
from typing import Final

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.project import Project, live_process, overview_or_why, reading_store
from codexteam.app.reports import events_of_run
from codexteam.errors import UsageError
from codexteam.report.metrics import RunMetrics, metrics_of
from codexteam.report.overview import UnreadableRun
from codexteam.report.run_figures import RunFigures, figures_of


def run_metrics(project: Project, since: str | None) -> RunMetrics:
    """Return the metrics of the runs that began since then, of all without it.

    Raises:
        UsageError: `since` is no moment.
    """
    after = None if since is None else read_moment(since, now_seconds=SystemClock().wall_seconds())
    if since is not None and after is None:
        raise UsageError(f"--since {since}: found no moment; allowed are {MOMENT_FORMS}", hint="for example --since 7d")
    if not project.store_path.exists():
        return metrics_of([], since_seconds=after)
    return asyncio.run(_metrics(project, after))


async def _metrics(project: Project, after: float | None) -> RunMetrics:
    found: list[RunFigures] = []
    unreadable: list[str] = []
    async with reading_store(project) as store:
        process = live_process(project)
        for record in await store.runs():
            if after is not None and record.created_at_seconds < after:
                continue
            run = await overview_or_why(store, record, process)
            if isinstance(run, UnreadableRun):
                unreadable.append(str(record.run_id))
            else:
                found.append(figures_of(run, await events_of_run(store, record, live=run.live)))
    return metrics_of(found, unreadable=unreadable, since_seconds=after)


#: What a moment may look like.
MOMENT_FORMS: Final = "12h, 7d or 2w ago, or a date as 2026-11-30 (UTC)"

_AGO = re.compile(r"(?P<count>[0-9]{1,6})\s*(?P<unit>[hdw])$", re.IGNORECASE)
_DATE = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})$")
_UNIT_SECONDS: Final = {"h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def read_moment(text: str, *, now_seconds: float) -> float | None:
    """Read a moment, in seconds since 1970; None where it is none."""
    said = text.strip()
    if found := _AGO.match(said):
        return now_seconds - int(found["count"]) * _UNIT_SECONDS[found["unit"].lower()]
    if found := _DATE.match(said):
        year, month, day = (int(found[name]) for name in ("year", "month", "day"))
        if year >= 1970 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]:
            return float(calendar.timegm((year, month, day, 0, 0, 0)))
    return None
