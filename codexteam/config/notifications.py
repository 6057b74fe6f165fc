"""Who is told when a person should look: a webhook of `[codexteam.notifications]`, and the terminal by Codex's `[tui]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from codexteam.config.layers import MergedLayers
from codexteam.core.limits import Between, OneOf

#: What there is to be told of.
NOTICES: Final = ("needs-you", "finished", "budget", "stalled")
#: Codex's names for what it tells of.
_CODEX_NAMES = {"agent-turn-complete": "finished", "approval-requested": "needs-you"}


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """`[codexteam.notifications]`."""

    events: tuple[Annotated[str, OneOf(NOTICES)], ...] = NOTICES
    """What the `notify` program, the webhook and the terminal are told of."""
    webhook: str | None = None
    """The address that is posted to."""
    webhook_env_var: str | None = None
    """The variable that holds it, as such an address often is a secret."""
    webhook_seconds: Annotated[float, Between(0.1, 60)] = 5.0
    """The longest that one request may take."""

    def webhook_url(self, environment: Mapping[str, str]) -> str | None:
        """Return the address, if there is one."""
        return (environment.get(self.webhook_env_var) if self.webhook_env_var else None) or self.webhook


@dataclass(frozen=True, slots=True)
class TerminalNotices:
    """`[tui] notifications` and `notification_method`. Whether the terminal has the focus is not asked."""

    names: tuple[str, ...] = NOTICES
    method: str = "auto"
    """`auto`, `osc9`, `osc777` or `bel`."""


def terminal_notices_of(merged: MergedLayers) -> TerminalNotices:
    """Return what the terminal is to tell of, and how; a list in the table has Codex's names, or ours."""
    default = TerminalNotices()
    said = merged.get("tui", "notifications")
    names = default.names
    if isinstance(said, bool):
        names = NOTICES if said else ()
    elif isinstance(said, list):
        asked = {_CODEX_NAMES.get(str(name), str(name)) for name in said}
        names = tuple(name for name in NOTICES if name in asked)
    return TerminalNotices(names, merged.text("tui", "notification_method") or default.method)
