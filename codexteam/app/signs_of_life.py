"""What a run's process leaves for who looks from elsewhere: signs of life, and what the commands of one agent print."""

from collections.abc import Callable
from pathlib import Path

from codexteam.adapters.machine.lock import process_mark
from codexteam.adapters.machine.looked_at import LookedAt
from codexteam.agent.activities import Activities
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.state import RunState
from codexteam.ports.clock import Clock
from codexteam.ports.store import Store
from codexteam.run.heartbeat import HEARTBEAT_SECONDS, Heartbeat, Stalls, Waits, leave_heartbeat, stalled_fields
from codexteam.run.reachable_agents import ReachableAgents

#: Who looks at an agent sees so often what its commands print, and so much of its end.
_OUTPUT_SECONDS, _SHOWN_CHARS = 1.0, 20_000


class SignsOfLife:
    """Those of one session."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        activities: Activities,
        reachable: ReachableAgents,
        *,
        run_id: RunId,
        session: int,
        folder: Path,
        stalled_seconds: float,
        state: Callable[[], RunState | None],
        report: Callable[[str, JSONObject], None],
    ) -> None:
        """Tell of the agents at work; `folder` is the run's, `state` gives its newest state, `report` records a fact."""
        self._store = store
        self._clock = clock
        self._activities = activities
        self._reachable = reachable
        self._run_id = run_id
        self._session = session
        self._looked_at = LookedAt(folder)
        self._stalled_seconds = stalled_seconds
        self._state = state
        self._report = report
        self._stalls, self._waits = Stalls(), Waits()

    async def leave(self) -> None:
        """Leave a sign now and then, until cancelled."""
        try:
            while True:
                self._leave_heartbeat()
                await self._show_outputs()
        finally:
            self._looked_at.close()

    def _leave_heartbeat(self) -> None:
        now, state = self._clock.wall_seconds(), self._state()
        waiting = self._waits.of(state, now) if state is not None else ()
        at_work = (*self._activities,)
        beat = Heartbeat(self._session, now, HEARTBEAT_SECONDS, self._stalled_seconds, at_work, waiting)
        leave_heartbeat(self._store, self._run_id, beat)
        self._reachable.let_go_for_dead(process_mark)
        for one in self._stalls.new(beat):
            self._report("agent.stalled", stalled_fields(one, now))

    async def _show_outputs(self) -> None:
        """Wait for the next sign; meanwhile show those who look at an agent what its commands print."""
        left_seconds = HEARTBEAT_SECONDS
        while left_seconds > 0:
            seen = self._looked_at.among((one.agent for one in self._activities), self._clock.wall_seconds())
            for agent in seen:
                self._looked_at.write(agent, self._activities.printed(agent)[-_SHOWN_CHARS:])
            pause_seconds = _OUTPUT_SECONDS if seen else left_seconds
            await self._clock.sleep(pause_seconds)
            left_seconds -= pause_seconds
