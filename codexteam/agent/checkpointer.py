"""An agent's finished turns and its workspace in the store, and where a resumed agent continues."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codexteam.agent.compaction import left_out_notice
from codexteam.agent.desk import AgentStore
from codexteam.agent.tools.shell import Sessions
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import Remark, Snapshot, WorkspaceState
from codexteam.ports.store import StoredTurn
from codexteam.system.fault_points import reach


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where an agent continues."""

    turn: int
    """The first turn that is not finished; 1 for an agent that never ran."""
    snapshot: Snapshot | None
    """What its sandbox must be started with (`SandboxSpec.restore`)."""
    missing: str = ""
    """The path of a snapshot that should be there and is not; then the agent's work is gone."""


async def resume_point(store: AgentStore, agent: AgentKey) -> ResumePoint:
    """Say where an agent continues, and with what in its workspace."""
    turns = await store.turns(agent)
    if not turns:
        return ResumePoint(1, None)
    last = turns[-1]
    snapshot = last.workspace.snapshot
    there = snapshot is None or await asyncio.to_thread(snapshot.pack.is_file)
    return ResumePoint(last.turn + 1, snapshot if there else None, "" if there or not snapshot else str(snapshot.pack))


class TurnCheckpointer:
    """Takes an agent's workspace out after each turn that wrote, and stores the turn with it."""

    def __init__(
        self, agent: AgentKey, store: AgentStore, place: ToolContext | None, sessions: Sessions, start: Snapshot | None
    ) -> None:
        self._agent = agent
        self._store = store
        self._place = place
        self._sessions = sessions
        self._ours: Path | None = None
        self.snapshot = start
        """The newest state of the workspace that is safe."""
        self.remarks: tuple[Remark, ...] = ()
        """What the workspace has and that state has not."""
        self._said: set[Remark] = set()

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
            self.remarks = tuple(
                Remark(clean_line(place.redactor.redact(said.path)), clean_line(place.redactor.redact(said.why)))
                for said in sandbox.remarks
            )
            taken = True
            reach("sandbox.snapshot.after")
        except ValueError as error:
            return str(error)
        finally:
            # also when the agent's time ends in the middle of it: then it is taken out once more
            place.wrote = place.wrote or not taken
        return ""

    def notice(self) -> str:
        """Say what is not taken of the workspace, each thing once; an empty text when there is nothing new."""
        new = [remark for remark in self.remarks if remark not in self._said]
        self._said.update(new)
        return left_out_notice(new) if new else ""

    async def record(self, turn: int, outputs: Sequence[JSONObject], facts: Sequence[RunEvent] = ()) -> None:
        """Store a turn with the newest state and its facts; older states can go then."""
        state = WorkspaceState(self.snapshot, self.remarks)
        await self._store.record_turn(StoredTurn(self._agent, turn, tuple(outputs), state), facts)
        older = self._take_over()
        if older is not None:
            await asyncio.to_thread(older.unlink, missing_ok=True)

    def replayed(self, turn: StoredTurn) -> None:
        """Take over what a stored turn says of the workspace."""
        self.snapshot = turn.workspace.snapshot
        self.remarks = turn.workspace.remarks
        self._said.update(self.remarks)
        older = self._take_over()
        if older is not None:  # a killed session had no time to do so
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
