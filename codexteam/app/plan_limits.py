"""The windows of the user's plan during a run: read, reported, kept from session to session, and what a budget says of them."""

import asyncio
from collections.abc import Callable, Sequence

from codexteam.config.settings import Settings
from codexteam.config.team import roles_on_codex
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.plan_windows import PlanWindows, UsageWindow, WindowUse, window_budget_words
from codexteam.core.state import RunState
from codexteam.errors import ConfigError, UsageLimitError
from codexteam.ports.store import Store
from codexteam.system.cancellation import to_its_end

_HINT = "give the budget in tokens (--budget 2000k) or money (--budget 5usd), or take the share back (--budget none)"


def refuse_windows_without_plan(settings: Settings) -> None:
    """Refuse shares of a plan's windows where nobody uses a plan; nothing is started for it.

    Raises:
        ConfigError: no role is run by the user's Codex.
    """
    limits = settings.team.budget.windows
    if limits and not roles_on_codex(settings):
        words = ", ".join(window_budget_words(limits))
        raise ConfigError(
            f"the budget is {words}, and no agent uses your plan: the engine of all roles is codexteam",
            hint=f"use your own Codex (--engine codex), or {_HINT}",
        )


class PlanLimits:
    """The plan's windows in one session."""

    def __init__(
        self, settings: Settings, store: Store, run_id: RunId, report: Callable[[str, JSONObject], None]
    ) -> None:
        """Take what a budget says of them, where their use is kept, and whom people hear of it from."""
        budget = settings.team.budget
        self.windows = PlanWindows(
            budget.windows, frozenset(roles_on_codex(settings)), kept_share=budget.wind_down_share
        )
        self.changed: Callable[[], None] = lambda: None
        """Called when one of them has changed."""
        self._store = store
        self._space = f"{run_id}/plan_windows"
        self._report = report
        self._saving: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()

    async def restore(self) -> None:
        """Take what earlier sessions kept."""
        for name, known in await self._store.list(self._space):
            self.windows.uses[name] = decode(WindowUse, known, f"window {name} of {self._space}")

    def take(self, read: Sequence[UsageWindow]) -> None:
        """Take what was read of the plan's windows, report it and keep it."""
        if not self.windows.take(read):
            return
        told: list[JSONObject] = [
            {
                "window": name,
                "used_percent": use.used_percent,
                "run_percent": use.run_percent,
                "limit_percent": self.windows.limits.get(name),
                "resets_at": use.resets_at_seconds,
            }
            for name, use in self.windows.uses.items()
        ]
        self._report("windows.read", {"windows": [*told], "words": self.windows.words()})
        saving = asyncio.create_task(self._save())
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)
        self.changed()

    async def _save(self) -> None:
        async with self._order:
            for name, use in list(self.windows.uses.items()):
                await self._store.put(self._space, name, encode_object(use))

    async def close(self) -> None:
        """Wait until all is kept."""
        await to_its_end(self._all_saved())

    async def _all_saved(self) -> None:
        for saving in list(self._saving):
            await saving

    def refuse_unknown(self) -> None:
        """Refuse a share of a window of which the account's service says nothing: it could not be kept.

        Raises:
            ConfigError: there is one.
        """
        if not (unknown := self.windows.unknown):
            return
        known = self.windows.words() or "none"
        raise ConfigError(
            f"the budget is a share of the {', '.join(unknown)} window of your plan, and your Codex reports no such window "
            f"(it reports: {known})",
            hint=_HINT,
        )


def window_reached(state: RunState) -> UsageLimitError | None:
    """Return the limit that ended a session, where that was the run's share of a window alone; it passes by waiting."""
    scopes = [known.budget_scope for known in state.shelved.values()]
    if not scopes or not all(scope.window for scope in scopes):
        return None
    last = max(scopes, key=_resets_at)
    return UsageLimitError(
        f"the run's share of the plan's {last.window} window is used up ({last.spent:g} % of {last.limit:g} %)",
        hint=f"`codexteam resume` continues once it has reset, `codexteam resume --budget {last.needed:g}%{last.window}` now",
        resets_at_seconds=last.resets_at_seconds,
    )


def _resets_at(scope: BudgetScope) -> float:
    return scope.resets_at_seconds or 0.0
