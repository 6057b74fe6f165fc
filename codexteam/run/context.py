"""What everything in a run works with: its ports, its settings, and names and times that stay the same after a crash.

There is one `RunContext` per session. The effect handlers and gates get it as it is; the agent runner is made from it
(`app.compose.build_agent_runner`) and put into it, since handlers start agents and agents use the same ports.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeVar

from codexteam.agent.agent_kinds import AGENT_KINDS
from codexteam.agent.compaction import remark_lines
from codexteam.config.settings import Settings
from codexteam.core.budget_queue import JUDGES, Standing, work_rank
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.codec import decode, encode_object
from codexteam.core.effects import Awaited
from codexteam.core.events import BudgetRefused
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.plan_graph import Task
from codexteam.core.redaction import Redactor
from codexteam.core.state import RunState
from codexteam.ports.clock import Clock
from codexteam.ports.hooks import Hooks
from codexteam.ports.repo import Identity, Repo
from codexteam.ports.run_files import RunFiles
from codexteam.ports.sandbox import Remark, Snapshot
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.ports.scanner import Scanner
from codexteam.ports.store import Store
from codexteam.run.assignment import AgentFailure, AgentRunner
from codexteam.run.code_map import CodeMap
from codexteam.run.command_environments import CommandEnvironments
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.notes import NoteBoard
from codexteam.run.remembered import FirstTime

T = TypeVar("T")

#: The mail domain of roles as authors; `.invalid` is reserved for names that never resolve (RFC 2606).
AUTHOR_DOMAIN = "codexteam.invalid"


@dataclass(slots=True, eq=False)
class RunContext:
    """One run's ports, settings and names, for one session."""

    run_id: RunId
    base: CommitId
    """The user's commit that the run began from."""
    settings: Settings
    repo: Repo
    store: Store
    engine: SandboxEngine
    clock: Clock
    files: RunFiles
    report: Callable[[str, JSONObject], None]
    """Reports a fact that is not a decision, such as `command.completed`: its kind and fields."""
    redactor: Redactor = field(default_factory=Redactor)
    """Knows every value that must not reach a sandbox, a file, a log or a commit."""
    agents: AgentRunner = field(init=False, repr=False)
    """Set once, right after the runner was made from this context."""
    scanner: Scanner | None = None
    """Looks for weaknesses in what changed; None: `codexteam[scan]` is not installed, or the gate is off."""
    hooks: Hooks | None = None
    """The user's own commands; None: there are none."""
    repositories: tuple[str, ...] = ()
    """The names of several repositories that the run works on, each a folder of the tree; empty where there is one."""
    environments: CommandEnvironments | None = None
    """What commands work in; None where sandboxes are as they come."""
    code_map: CodeMap | None = None
    """What is where in the code; None where it is switched off."""
    notes: NoteBoard = field(init=False, repr=False)
    """What agents tell each other."""
    started_by: str = ""
    """The account under which the session was started."""
    base_sandboxes: Iterator[int] = field(default_factory=lambda: count(1), repr=False)
    """Numbers the sandboxes in which commands run on the base commit: several may at the same time."""
    base_outcomes: dict[str, CommandOutcome] = field(default_factory=dict, repr=False)
    """Outcomes valid for this session only, keyed like the stored ones."""
    results_awaited: dict[str, asyncio.Lock] = field(default_factory=dict, repr=False)
    """Held while a command runs on a tree, by where its outcome is kept."""

    def __post_init__(self) -> None:
        self.notes = NoteBoard(self.store, self.run_id, self.redactor)

    @asynccontextmanager
    async def awaiting(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Hold what is kept under these keys: who else wants one of them waits, and finds it."""
        async with AsyncExitStack() as held:
            for key in sorted(keys):  # in one order, so that nobody waits for who waits for them
                await held.enter_async_context(self.results_awaited.setdefault(key, asyncio.Lock()))
            yield

    def key(self, purpose: Purpose, *, attempt: int, task_id: str = "", role: str = "") -> AgentKey:
        """Name an agent; without a `role` it has the one that ships for its purpose."""
        return AgentKey(self.run_id, role or AGENT_KINDS[purpose].role, purpose, task_id, attempt)

    async def time_of(self, what: str) -> int:
        """Return the second at which something was first done: the same when it is done again after a crash."""
        known = await self.recall("times", what, FirstTime)
        if known is None:
            known = FirstTime(int(self.clock.wall_seconds()))
            await self.remember("times", what, known)
        return known.at_seconds

    async def author(self, role: str, what: str) -> Identity:
        """Return the author of a commit that is made for `what`."""
        return Identity(f"codexteam {role}", f"{role}@{AUTHOR_DOMAIN}", await self.time_of(what))

    def message(self, title: str, body: str, *, role: str, task_id: str = "", attempt: int = 0, model: str = "") -> str:
        """Write a commit message, with trailers that say whose work it is; secrets are taken out of it.

        `model` is what was used in place of the role's.
        """
        trailers = {
            "Codexteam-Run": self.run_id,
            "Codexteam-Task": task_id,
            "Codexteam-Attempt": str(attempt) if attempt else "",
            "Codexteam-Role": role,
            "Codexteam-Model": model or (self.settings.roles[role].model.model if role in self.settings.roles else ""),
        }
        lines = [f"{name}: {value}" for name, value in trailers.items() if value]
        redact = self.redactor.redact
        subject = redact(" ".join(title.split()))[:100]
        return "\n\n".join(part for part in (subject, redact(body.strip()), "\n".join(lines)) if part) + "\n"

    async def remember(self, space: str, key: str, value: object) -> None:
        """Store a value of this run: a dataclass."""
        await self.store.put(f"{self.run_id}/{space}", key, encode_object(value))

    async def recall(self, space: str, key: str, kind: type[T]) -> T | None:
        """Return a value of this run.

        Raises:
            StoreError: it cannot be read.
        """
        known = await self.store.get(f"{self.run_id}/{space}", key)
        return None if known is None else decode(kind, known, f"{space} {key} of run {self.run_id}")

    async def keep_snapshot(self, agent: AgentKey, snapshot: Snapshot) -> None:
        """Remember an attempt's work, so that a later one can continue from it and nothing is lost."""
        await self.remember("snapshots", work_name(agent), snapshot)
        await self.repo.keep(self.run_id, work_name(agent), snapshot)

    async def keep_unanswered(self, agent: AgentKey, report: AgentFailure) -> str:
        """Keep what an agent of no task wrote before it ended without an answer; say why it ended, and where that is."""
        if report.snapshot is None:
            return report.reason
        await self.keep_snapshot(agent, report.snapshot)
        return f"{report.reason}; what it wrote until then is kept: codexteam salvage lists it as {work_name(agent)}"

    def report_left_out(self, agent: AgentKey, remarks: Sequence[Remark]) -> None:
        """Report what of a workspace is left out of the work of an agent that has no task."""
        if remarks:
            lines = "; ".join(line.removeprefix("- ") for line in remark_lines(remarks))
            self.report("notice", {"text": f"{work_name(agent)}: not in its work: {lines}"})

    async def snapshot(self, agent: AgentKey) -> Snapshot | None:
        """Return an attempt's work."""
        return await self.recall("snapshots", work_name(agent), Snapshot)


def work_name(agent: AgentKey) -> str:
    """Return what an agent's work is called: `T1.2`, `document.1`, `qa.3`."""
    return agent.work


def standing_of(state: RunState, task: Task) -> Standing:
    """Return where who works on a task stands among others that share a budget."""
    return Standing(work_rank(state.graph.priority(task.id)), task.effort)


#: Where an agent stands that judges what others did.
JUDGE: Final = Standing(JUDGES)


def refused(effect: Awaited, report: AgentFailure) -> BudgetRefused:
    """Say that a budget did not hold an agent's next call: what it was to do waits."""
    return BudgetRefused(effect.key, report.reason, report.budget_scope or BudgetScope())
