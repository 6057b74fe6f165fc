"""Reads what the service of the user's plan counts for each thread, in credits: late, and not for every plan.

Codex asks the service for one thread at a time. A thread is asked for after its answers, some times again while it rests,
since the count comes later than the answer, and less often while nothing is reported at all.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from codexteam.core.ids import AgentKey, JSONObject, JSONValue
from codexteam.core.plan_credits import CreditBalance, CreditsReading, ThreadCredits
from codexteam.system.cancellation import stopped

_METHOD: Final = "account/usage/read"
#: After the last answer of a thread.
_AGAIN_SECONDS: Final = (30.0, 120.0)


@dataclass(slots=True)
class _Followed:
    agent: AgentKey
    due: float | None = None
    """When it is to be asked for; None: after its next answer."""
    read_at: float = -math.inf
    asked_again: int = 0
    """How often since its last answer."""
    is_behind: bool = False
    """Whether it was answered since it was last read."""

    def rest(self, now: float) -> None:
        """Have it read again later, unless an answer that came meanwhile has done so."""
        if self.due is None and self.asked_again < len(_AGAIN_SECONDS):
            self.due = now + _AGAIN_SECONDS[self.asked_again]
            self.asked_again += 1


@dataclass(slots=True)
class CreditReader:
    """Follows the threads of one app-server. `ask` requests something of it, and gives nothing where that fails."""

    ask: Callable[[str, JSONObject], Awaitable[JSONObject]]
    pace_seconds: float = 1.0
    """Between two requests."""
    least_seconds: float = 5.0
    """Between two requests for one thread."""
    unreported_seconds: float = 60.0
    """The same while nothing was ever reported."""
    end_seconds: float = 3.0
    """The most that the last reading takes."""
    say: Callable[[CreditsReading], None] = lambda _: None
    _threads: dict[str, _Followed] = field(default_factory=dict)
    _is_reported: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] | None = None

    def watch(self, listen: Callable[[CreditsReading], None], threads: Mapping[str, AgentKey]) -> None:
        """Say what is read to `listen`, also of `threads` of earlier sessions."""
        self.say = listen
        for thread_id, agent in threads.items():
            self.follow(thread_id, agent)
            self.answered(thread_id)

    def follow(self, thread_id: str, agent: AgentKey) -> None:
        """Note whose thread it is."""
        self._threads.setdefault(thread_id, _Followed(agent))

    def answered(self, thread_id: str) -> None:
        """Note that the model has answered in a thread: the service counts that sooner or later."""
        thread = self._threads.get(thread_id)
        if thread is None:
            return
        thread.is_behind, thread.asked_again = True, 0
        least = self.least_seconds if self._is_reported else self.unreported_seconds
        due = max(_now(), thread.read_at + least)
        thread.due = due if thread.due is None else min(thread.due, due)
        self._changed.set()
        if self._reading is None:
            self._reading = asyncio.create_task(self._run())

    async def read_rest(self) -> None:
        """Read every thread once more that was answered since, at the end of a session."""
        behind = [thread_id for thread_id, thread in self._threads.items() if thread.is_behind]
        if not self._is_reported:  # what is not reported is not waited for again and again
            behind = [thread_id for thread_id in behind if self._threads[thread_id].read_at == -math.inf]
        with contextlib.suppress(TimeoutError):  # as far as it is reported by then
            async with asyncio.timeout(self.end_seconds):
                await asyncio.gather(*map(self._read, behind))

    async def close(self) -> None:
        """End it."""
        if self._reading is not None:
            await stopped(self._reading)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            due, thread_id = min(
                ((thread.due, thread_id) for thread_id, thread in self._threads.items() if thread.due is not None),
                default=(math.inf, ""),
            )
            if due > _now():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if due == math.inf else due - _now()):
                        await self._changed.wait()
                continue
            await self._read(thread_id)
            await asyncio.sleep(self.pace_seconds)

    async def _read(self, thread_id: str) -> None:
        thread = self._threads[thread_id]
        thread.due, thread.read_at, thread.is_behind = None, _now(), False
        found = (await self.ask(_METHOD, {"threadId": thread_id})).get("threadUsage")
        read = _credits_of(found, thread.agent)
        self._is_reported = self._is_reported or read.micro_credits is not None
        thread.rest(_now())
        self.say(CreditsReading({thread_id: read}))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _credits_of(usage: JSONValue, agent: AgentKey) -> ThreadCredits:
    if not isinstance(usage, dict):
        return ThreadCredits(agent)
    return ThreadCredits(
        agent, _count(usage.get("estimatedUsageCreditsMicros")), _count(usage.get("estimatedUsageUsdMicros"))
    )


def _count(value: JSONValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None


def balance_of(credits_: JSONValue) -> CreditBalance | None:
    """Return what a snapshot of the plan's limits says of its credits; None where it says nothing."""
    if not isinstance(credits_, dict):
        return None
    said = credits_.get("balance")
    try:
        left = float(said) if isinstance(said, str) else None
    except ValueError:
        left = None
    if left is not None and not math.isfinite(left):
        left = None
    unlimited = credits_.get("unlimited") is True
    return CreditBalance(left, unlimited=unlimited) if unlimited or left is not None else None
