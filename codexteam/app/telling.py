"""Writes into a run's `events.jsonl` what was decided while nobody drove it, so that its history has no hole."""

from collections.abc import Sequence

from codexteam.adapters.events_file import EventsFile
from codexteam.app.command_lines import with_lines
from codexteam.app.looking import Where, events_path
from codexteam.app.sitting import secret_values
from codexteam.app.start import Ground
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.core.story import numbered_story
from codexteam.driver.loop import Seen
from codexteam.errors import CodexteamError
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord


def tell_offline(
    ground: Ground, where: Where, record: RunRecord, seen: Seen, *, lines: Sequence[JSONObject], at_seconds: float
) -> None:
    """Report an event that is stored; `lines` are the run's command lines. The caller holds the repository's lock."""
    redactor = Redactor(_secrets(where, lines))
    file = EventsFile(events_path(ground, record.run_id), record.run_id)
    try:
        for kind, fields in numbered_story(seen.number, seen.event, seen.before, seen.after, seen.effects):
            file.report(RunEvent(kind, at_seconds, redactor.redact_object(fields)))
    finally:
        file.close()


def _secrets(where: Where, lines: Sequence[JSONObject]) -> tuple[str, ...]:
    load = with_lines(LoadRequest(cwd=where.cwd, environment=where.environment), lines)
    try:
        return secret_values(load_settings(load), where.environment)
    except CodexteamError:
        # a configuration that does not load is said at `resume`; what it names as secret cannot be known here, what
        # looks like one is taken out all the same
        return ()
