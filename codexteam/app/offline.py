"""Changes to a run that nobody drives at the moment: a person's answer, an edited plan."""

from codexteam.adapters.clock import SystemClock
from codexteam.core.codec import encode_event
from codexteam.core.events import Event
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.driver.loop import load_state
from codexteam.ports.store import RunRecord, Store


async def apply_event(store: Store, record: RunRecord, event: Event) -> RunState:
    """Take an event into a stored run; what follows from it is done at `resume`. The caller holds the lock.

    Raises:
        InvalidTransitionError: the run does not allow it now.
        PlanError: an edited plan does not hold together.
    """
    state = await load_state(store, record.run_id, goal=record.goal, rules=Rules())
    after, _ = step(state, event)
    await store.append(record.run_id, [(SystemClock().wall_seconds(), *encode_event(event))])
    return after
