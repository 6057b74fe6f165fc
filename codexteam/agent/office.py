"""What every performer works with: the ports, the settings, and names and times that are the same when asked again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.agent.assignment import Crew, NoAnswer
from codexteam.config.settings import Settings
from codexteam.core.ids import AgentKey, CommitId, Purpose, RunId
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan import Task
from codexteam.core.state import TERMINAL, RunState
from codexteam.ports.clock import Clock
from codexteam.ports.repo import Identity, Repo
from codexteam.ports.run_files import RunFiles
from codexteam.ports.sandbox import SandboxEngine, Snapshot
from codexteam.ports.store import Store

#: The mail domain of roles as authors; `.invalid` is reserved for names that never resolve (RFC 2606).
AUTHOR_DOMAIN = "codexteam.invalid"

#: Roles whose work is merged.
WRITERS = ("implementer", "documentation", "qa_test_author")


@dataclass(frozen=True, slots=True)
class Office:
    """One run's surroundings, shared by its performers."""

    run_id: RunId
    settings: Settings
    crew: Crew
    repo: Repo
    store: Store
    engine: SandboxEngine
    clock: Clock
    files: RunFiles
    tell: Callable[[str, JSONObject], None]
    """Reports a fact that is no decision, such as `command.completed`: its kind and fields."""
    secret_values: tuple[str, ...] = field(default=(), repr=False)
    checking_base: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while commands run on the base commit: each runs there once, and has a sandbox of one name."""
    base_outcomes: dict[str, JSONObject] = field(default_factory=dict, repr=False)
    """Of these, what holds for this sitting alone, by the key in the store of what holds for ever."""

    def key(self, role: str, purpose: Purpose, *, task_id: str = "", attempt: int) -> AgentKey:
        """Name an agent."""
        return AgentKey(self.run_id, role, purpose, task_id, attempt)

    async def time_of(self, what: str) -> int:
        """Give the second at which something was first done: the same when it is done again after a crash."""
        space, key = f"{self.run_id}/times", what
        known = await self.store.get(space, key)
        if known is not None and isinstance(at := known.get("at_seconds"), int):
            return at
        now = int(self.clock.wall_seconds())
        await self.store.put(space, key, {"at_seconds": now})
        return now

    async def author(self, role: str, what: str) -> Identity:
        """Give the author of a commit that is made for `what`."""
        return Identity(f"codexteam {role}", f"{role}@{AUTHOR_DOMAIN}", await self.time_of(what))

    def message(self, title: str, body: str, *, role: str, task_id: str = "", attempt: int = 0) -> str:
        """Write a commit message, with trailers that say whose work it is."""
        trailers = {
            "Codexteam-Run": self.run_id,
            "Codexteam-Task": task_id,
            "Codexteam-Attempt": str(attempt) if attempt else "",
            "Codexteam-Role": role,
            "Codexteam-Model": self.settings.roles[role].model.model if role in self.settings.roles else "",
        }
        lines = [f"{name}: {value}" for name, value in trailers.items() if value]
        subject = " ".join(title.split())[:100]
        return "\n\n".join(part for part in (subject, body.strip(), "\n".join(lines)) if part) + "\n"

    async def remember(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value of this run."""
        await self.store.put(f"{self.run_id}/{space}", key, value)

    async def recall(self, space: str, key: str) -> JSONObject | None:
        """Give a value of this run."""
        return await self.store.get(f"{self.run_id}/{space}", key)

    async def keep_snapshot(self, agent: AgentKey, snapshot: Snapshot) -> None:
        """Remember an attempt's work, so that a later one can go on from it and nothing is lost."""
        await self.remember("snapshots", work_name(agent), snapshot_json(snapshot))
        await self.repo.keep(self.run_id, work_name(agent), snapshot)

    async def keep_unanswered(self, agent: AgentKey, report: NoAnswer) -> str:
        """Keep what an agent of no task wrote before it ended without an answer; say why it ended, and where that is."""
        if report.snapshot is None:
            return report.reason
        await self.keep_snapshot(agent, report.snapshot)
        return f"{report.reason}; what it wrote until then is kept: codexteam salvage lists it as {work_name(agent)}"

    async def snapshot(self, agent: AgentKey) -> Snapshot | None:
        """Give an attempt's work."""
        known = await self.recall("snapshots", work_name(agent))
        return snapshot_of(known) if known else None


def work_name(agent: AgentKey) -> str:
    """Give what an agent's work is called: `T1.2`, `document.1`, `qa.3`."""
    return f"{agent.task_id or agent.purpose.value}.{agent.attempt}"


def snapshot_json(snapshot: Snapshot) -> JSONObject:
    """Write a snapshot down."""
    return {
        "tip": snapshot.tip,
        "base": snapshot.base,
        "pack": str(snapshot.pack),
        "pack_bytes": snapshot.pack_bytes,
    }


def snapshot_of(value: JSONValue) -> Snapshot | None:
    """Give a snapshot that was written down; None when its pack is gone or it is none."""
    match value:
        case {"tip": str(tip), "base": str(base), "pack": str(pack), "pack_bytes": int(size)}:
            path = Path(pack)
            return Snapshot(tip, CommitId(base), path, size)
        case _:
            return None


def share_of(state: RunState, task: Task) -> float:
    """Give the part of what is left of the budget that one attempt at a task may use, by effort."""
    open_effort = sum(known.task.effort for known in state.tasks.values() if known.phase not in TERMINAL)
    return task.effort / open_effort if open_effort else 1.0
