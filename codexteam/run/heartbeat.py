"""A sign of life that a run's process leaves in the store, for people who look from another terminal."""

from dataclasses import dataclass

from codexteam.core.activity import DOING_WORDS, Activity, Doing
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.core.state import RunState, TaskPhase, TaskState
from codexteam.ports.store import Store

#: How often it is left.
HEARTBEAT_SECONDS = 5.0
#: What is missing for so many of them is worth a word.
_MISSED = 2


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One sign of life. Times are seconds since 1970."""

    session: int
    at_seconds: float
    every_seconds: float
    stalled_seconds: float
    """An agent that is silent for so long has stalled."""
    agents: tuple[Activity, ...] = ()
    """Who is at work."""
    waiting: tuple[Activity, ...] = ()
    """Who has handed in work or asked, and whose task waits."""

    def is_missed(self, now_seconds: float) -> bool:
        """Return whether the next ones should have come and did not."""
        return now_seconds - self.at_seconds > _MISSED * self.every_seconds

    def stalled(self, now_seconds: float) -> list[Activity]:
        """Return the agents that are silent for too long."""
        return [one for one in self.agents if one.is_stalled(now_seconds, after_seconds=self.stalled_seconds)]


class Waits:
    """Follows whose task waits for the merge train, or for a person, and since when."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, Doing], float] = {}

    def of(self, state: RunState, now_seconds: float) -> tuple[Activity, ...]:
        """Return them at a moment: each waits since the first moment at which it did."""
        found = {}
        for known in state.tasks.values():
            doing = _WAITING.get(known.phase)
            if doing is not None:
                agent = AgentKey(state.run_id, known.task.role, Purpose.IMPLEMENT, known.task.id, known.attempt)
                found[str(agent), doing] = _waiting_words(known)
        self._since = {key: self._since.get(key, now_seconds) for key in found}
        return tuple(
            Activity(agent, doing, self._since[agent, doing], now_seconds, words)
            for (agent, doing), words in found.items()
        )


_WAITING = {
    TaskPhase.QUEUED: Doing.MERGE_TRAIN,
    TaskPhase.INTEGRATING: Doing.MERGE_TRAIN,
    TaskPhase.ON_HOLD: Doing.PERSON,
}


def _waiting_words(known: TaskState) -> str:
    return "being merged and checked" if known.phase is TaskPhase.INTEGRATING else known.reason


class Stalls:
    """Tells stalls that begin from those that last."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def new(self, beat: Heartbeat) -> list[Activity]:
        """Return the agents that have stalled since the heartbeat before."""
        found = {one.agent: one for one in beat.stalled(beat.at_seconds)}
        known, self._known = self._known, set(found)
        return [one for name, one in found.items() if name not in known]


def stalled_fields(stalled: Activity, now_seconds: float) -> JSONObject:
    """Return the fields of `agent.stalled`."""
    return {
        "agent": stalled.agent,
        "seconds": round(now_seconds - stalled.heard_seconds),
        "doing": DOING_WORDS[stalled.doing],
        "detail": stalled.detail,
    }


def leave_heartbeat(store: Store, run_id: RunId, beat: Heartbeat) -> None:
    """Leave a sign of life, in place of the one before it; nobody waits for it."""
    store.put_soon(*_place(run_id), encode_object(beat))


async def last_heartbeat(store: Store, run_id: RunId, *, session: int) -> Heartbeat | None:
    """Return the newest sign of life of a session; None before its first, and of sessions of older versions."""
    value = await store.get(*_place(run_id))
    beat = None if value is None else decode(Heartbeat, value, f"the heartbeat of run {run_id}")
    return beat if beat is not None and beat.session == session else None


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class BlockedOutput:
    """A run that cannot continue until somebody reads what it prints."""

    session: int
    since_seconds: float


def leave_blocked(store: Store, run_id: RunId, *, session: int, since_seconds: float | None) -> None:
    """Leave word that a session's output is not read, or is again (None); from any thread, while the loop waits."""
    found = None if since_seconds is None else encode_object(BlockedOutput(session, since_seconds))
    store.put_soon(*_output(run_id), {"blocked": found})


async def blocked_output(store: Store, run_id: RunId, *, session: int) -> BlockedOutput | None:
    """Return since when a session waits for the reader of its output; None where it does not."""
    value = await store.get(*_output(run_id))
    found = value.get("blocked") if value is not None else None
    blocked = decode(BlockedOutput, found, f"the output of run {run_id}") if isinstance(found, dict) else None
    return blocked if blocked is not None and blocked.session == session else None


def _output(run_id: RunId) -> tuple[str, str]:
    return f"{run_id}/life", "output"


def _place(run_id: RunId) -> tuple[str, str]:
    return f"{run_id}/life", "heartbeat"
