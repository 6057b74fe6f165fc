"""What other accounts of the machine ask of a run: from their letter to a request that its session takes.

Only the owner's process decides and writes. The name that a request is told under is that of the account that owns the letter.
"""

import asyncio
import json
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from codexteam.adapters.machine.shared_state import Letter, SharedState
from codexteam.app import requests
from codexteam.config.priced import budget_words
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_text import TaskBudget
from codexteam.core.codec import StoredForm, decode, stored
from codexteam.core.events import Answered, Continued, PauseRequested, StopRequested
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.plan_graph import Task
from codexteam.core.steering_events import AddRequested, RunBudgetSet, Steering, TaskBudgetSet
from codexteam.core.task_budgets import BUDGET_ITEM
from codexteam.core.text import clean_line
from codexteam.errors import StoreError
from codexteam.ports.clock import Clock
from codexteam.ports.store import Store

_LOOK_SECONDS = 1.0

PostedEvent: TypeAlias = (
    Answered | PauseRequested | Continued | StopRequested | Steering | requests.StopNow | requests.StopAgent
)


@stored(StoredForm(tag="", flat=("asked",), optional=("session",)))
@dataclass(frozen=True, slots=True)
class Posted:
    """A letter's text."""

    run: str
    asked: PostedEvent
    session: int = 0
    """That of the run which is meant, for what is asked of one at work; 0 is whichever takes it."""


def rights_for(asked: object) -> tuple[str, ...]:
    """Return what one must be allowed, to ask this."""
    match asked:
        case Answered(item=item):
            return ("answer", "budget") if item.startswith(BUDGET_ITEM) else ("answer",)
        case RunBudgetSet() | TaskBudgetSet():
            return ("budget",)
        case AddRequested(task=Task(budget=TaskBudget())):
            return ("steer", "budget")
        case _:
            return ("steer",)


def as_asked_here(asked: PostedEvent) -> PostedEvent:
    """Return what is asked with nothing in it that no command asks: a letter is whatever its writer puts down.

    Raises:
        ValueError: an amount is none.
    """
    match asked:
        case Continued():  # the limits of a run are its owner's
            return Continued()
        case StopRequested():
            return StopRequested("codexteam stop", requests.STOP_EXIT_CODE)
        case RunBudgetSet(usd=usd, credits=credits, tokens=tokens):
            _check_amounts(usd, credits, tokens)
            # the history says what the amounts are, not what their sender calls them
            limits = BudgetLimits(run_usd=usd, run_credits=credits, run_tokens=tokens)
            return replace(asked, words=budget_words(limits))
        case TaskBudgetSet(budget=budget) | AddRequested(task=Task(budget=TaskBudget() as budget)):
            _check_amounts(budget.share_percent, budget.usd, budget.credits, budget.tokens)
        case _:
            pass
    return asked


def _check_amounts(*amounts: float | None) -> None:
    for amount in amounts:
        if amount is not None and not (math.isfinite(amount) and amount >= 0):
            raise ValueError(f"{amount} is no amount of a budget")


class GroupRequests:
    """Keeps a run's state readable for a group while it is at work, and takes what members ask."""

    def __init__(
        self,
        shared: SharedState,
        store: Store,
        run_id: RunId,
        clock: Clock,
        *,
        may: Collection[str],
        look: Callable[[], None],
        report: Callable[[str, JSONObject], None],
    ) -> None:
        """`may` are the rights of members; `look` has the session take what was left for it."""
        self._shared = shared
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._may = may
        self._look = look
        self._report = report

    async def serve(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            try:
                await self.look_once()
            except (StoreError, OSError) as error:
                self._report("notice", {"text": f"other accounts have no access any more: {error}"})
                return

    async def look_once(self) -> None:
        """Let the group read what there is now, and take what its members ask.

        Raises:
            StoreError: the state folder is not ours to share.
        """
        await asyncio.to_thread(self._shared.open_up)
        for letter in await asyncio.to_thread(self._shared.letters):
            await self._take(letter)

    async def _take(self, letter: Letter) -> None:
        try:
            posted = decode(Posted, json.loads(letter.text), "a request")
            asked = as_asked_here(posted.asked)
        except (ValueError, StoreError, RecursionError) as error:
            self._report("notice", {"text": f"what {letter.by} asks cannot be read: {clean_line(str(error))}"})
            self._shared.remove(letter)
            return
        now = self._clock.wall_seconds()
        run_id = RunId(posted.run)
        if run_id != self._run_id:
            if run_id not in {record.run_id for record in await self._store.runs()}:
                text = f"{letter.by} asks something of run {clean_line(posted.run)}, which there is not"
                self._report("notice", {"text": text})
                self._shared.remove(letter)
            return  # else it waits until that one is continued
        # a session that was killed before it removed a letter has taken it all the same
        if await requests.key_of(self._store, run_id, letter.name) is None:
            why = self._refusal(letter, rights_for(asked))
            now_session = len(await self._store.sessions(run_id))
            session = min(posted.session, now_session) if posted.session > 0 else now_session
            # one that is refused is settled from the beginning: the session may look at any moment
            await requests.leave(
                self._store,
                run_id,
                asked,
                at_seconds=now,
                by=letter.by,
                suffix=letter.name,
                result=why,
                session=session,
            )
            if why is not None:
                self._report("notice", {"text": why})
        self._shared.remove(letter)
        self._look()

    def _refusal(self, letter: Letter, rights: Collection[str]) -> str | None:
        right = next((each for each in rights if each not in self._may), None)
        if right is None:
            return None
        allowed = ", ".join(self._may) or "nothing"
        return f"{letter.by} may not do that here: it takes {right!r}, and [codexteam.access] may allows {allowed}"
