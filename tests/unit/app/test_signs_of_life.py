"""What a run's process leaves: a sign of life every few seconds, and outputs for who looks at an agent."""

import asyncio
import time
from pathlib import Path

from codexteam.adapters.machine.looked_at import Look
from codexteam.agent.activities import Activities
from codexteam.app.signs_of_life import SignsOfLife
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.run.heartbeat import last_heartbeat
from codexteam.run.reachable_agents import ReachableAgents
from codexteam.system.cancellation import stopped
from tests.fakes.fake_clock import FakeClock
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20260101-0000-aaaa")
AGENT = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)


class Pauses(FakeClock):
    """Keeps real dates, as files have them; after so many pauses there is no end to the next."""

    def __init__(self, most: int) -> None:
        super().__init__(time.time())
        self._most = most
        self.done = asyncio.Event()

    def wall_seconds(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        if len(self.slept) == self._most:
            self.done.set()
            await asyncio.Event().wait()
        await super().sleep(seconds)


async def test_outputs_are_read_and_written_for_who_looks_alone(tmp_path: Path) -> None:
    asked: list[str] = []
    unwatched = await _left(tmp_path, asked, pauses=3)
    assert (unwatched, asked) == ([5.0, 5.0, 5.0], [])

    look = Look(tmp_path, str(AGENT))
    look.read()
    assert await _left(tmp_path, asked, pauses=6, look=look) == [1.0] * 6
    assert asked
    assert not (tmp_path / "looked-at").exists(), "a session that ends leaves nothing"


async def _left(folder: Path, asked: list[str], *, pauses: int, look: Look | None = None) -> list[float]:
    """Leave signs for so many pauses; give how long these were."""
    store, clock, activities = MemoryStore(), Pauses(pauses), Activities()
    told: list[tuple[str, JSONObject]] = []

    def printed() -> str:
        asked.append("looked")
        return "line 1\n"

    activities.begins(AGENT, time.time())
    activities.prints(AGENT, printed)
    signs = SignsOfLife(
        store,
        clock,
        activities,
        ReachableAgents(),
        run_id=RUN,
        session=1,
        folder=folder,
        stalled_seconds=300.0,
        state=lambda: None,
        report=lambda kind, fields: told.append((kind, fields)),
    )
    leaving = asyncio.create_task(signs.leave())
    await clock.done.wait()
    beat = await last_heartbeat(store, RUN, session=1)
    assert beat is not None
    assert [one.agent for one in beat.agents] == [str(AGENT)]
    if look is not None:
        assert look.read() == "line 1\n"
    await stopped(leaving)
    assert told == []
    return clock.slept
