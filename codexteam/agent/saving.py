"""An agent's finished turns in the store, its workspace with them; and where a resumed agent goes on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codexteam.agent.office import snapshot_json, snapshot_of
from codexteam.agent.tools.shell import Sessions
from codexteam.agent.tools.workplace import Workplace
from codexteam.core.ids import AgentKey
from codexteam.core.json_types import JSONObject
from codexteam.ports.fault_points import reach
from codexteam.ports.sandbox import Snapshot
from codexteam.ports.store import Store, StoredTurn


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where an agent goes on."""

    turn: int
    """The first turn that is not finished; 1 for an agent that never ran."""
    snapshot: Snapshot | None
    """What its sandbox must be started with (`SandboxSpec.restore`)."""
    missing: str = ""
    """The path of a snapshot that should be there and is not; then the agent's work is gone."""


async def resume_point(store: Store, agent: AgentKey) -> ResumePoint:
    """Say where an agent goes on, and with what in its workspace."""
    turns = await store.turns(agent)
    if not turns:
        return ResumePoint(1, None)
    last = turns[-1]
    snapshot = snapshot_of(last.snapshot)
    there = snapshot is None or await asyncio.to_thread(snapshot.pack.is_file)
    return ResumePoint(last.turn + 1, snapshot if there else None, "" if there or not snapshot else str(snapshot.pack))


class Keeper:
    """Takes an agent's workspace out after each turn that wrote, and stores the turn with it."""

    def __init__(
        self, agent: AgentKey, store: Store, place: Workplace | None, sessions: Sessions, start: Snapshot | None
    ) -> None:
        self._agent = agent
        self._store = store
        self._place = place
        self._sessions = sessions
        self._ours: Path | None = None
        self.snapshot = start
        """The newest state of the workspace that is safe."""

    async def take_out(self, turn: int) -> str:
        """Take the workspace out, if anything may have been written since the last time.

        Gives why it cannot be, for the model, or an empty text.

        Raises:
            SandboxLost: the sandbox went away.
        """
        place = self._place
        if place is None or place.read_only or not (place.wrote or self._sessions.running):
            return ""
        sandbox = await place.enter()
        # a command that still runs may write on: what it writes from here is the next turn's
        place.wrote = False
        path = place.folder / f"turn-{turn}.pack"
        taken = False
        try:
            reach("sandbox.snapshot.before")
            self.snapshot = await sandbox.snapshot(path)
            taken = True
            reach("sandbox.snapshot.after")
        except ValueError as error:
            return str(error)
        finally:
            # also when the agent's time ends in the middle of it: then it is taken out once more
            place.wrote = place.wrote or not taken
        return ""

    async def record(self, turn: int, outputs: Sequence[JSONObject]) -> None:
        """Store a turn with the newest state; then older ones can go."""
        state = None if self.snapshot is None else snapshot_json(self.snapshot)
        await self._store.record_turn(StoredTurn(self._agent, turn, tuple(outputs), state))
        older = self._take_over()
        if older is not None:
            await asyncio.to_thread(older.unlink, missing_ok=True)

    def replayed(self, turn: StoredTurn) -> None:
        """Take over what a stored turn says of the workspace."""
        self.snapshot = snapshot_of(turn.snapshot)
        older = self._take_over()
        if older is not None:  # a sitting that was killed had no time to
            older.unlink(missing_ok=True)

    def _take_over(self) -> Path | None:
        """Make the newest pack ours; give the one before it, which nobody needs any more."""
        before = self._ours
        newest = None if self.snapshot is None else self.snapshot.pack
        # a pack that the agent was started with belongs to somebody else
        self._ours = (
            newest if self._place is not None and newest is not None and newest.parent == self._place.folder else None
        )
        return before if before != newest else None
