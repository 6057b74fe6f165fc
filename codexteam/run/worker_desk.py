"""What an agent has of its run where it works on a worker: everything asks the run, in the process that reads its messages.

Nothing here decides. What the run must know before the agent continues is asked and waited for: budget before a call, the
store before an answer counts or a turn is over. Everything else is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from codexteam.agent.event_fields import AgentEvent, BudgetAwaited, TextStreamed
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.prefix import Prompt
from codexteam.agent.reservations import Patience
from codexteam.agent.tools.tool import Tool, ToolOutput
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Amount, Price, Usage
from codexteam.core.ids import AgentKey, CallKey, CommitId, JSONObject
from codexteam.errors import InternalError
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import SandboxFacts, SandboxSpec, Snapshot
from codexteam.ports.store import OpenCall, StoredAnswer, StoredTurn
from codexteam.ports.workers import RunLink
from codexteam.run.host import AgentOrder
from codexteam.run.worker_messages import (
    AgentBegins,
    AgentDid,
    AnswerAsked,
    BlobAsked,
    CallAnswered,
    CallClosed,
    CallLost,
    CallOpened,
    CallReleased,
    CallSettled,
    CommandsPrinted,
    EnvironmentAsked,
    FilesAsked,
    Granted,
    LeftFiles,
    LostNoted,
    Nudge,
    NudgeKind,
    RefusalAsked,
    ReservationAsked,
    RunReply,
    RunToolCalled,
    RunToolForm,
    SandboxAsked,
    SandboxIs,
    Tell,
    TurnDone,
    TurnsAsked,
    Welcome,
    WorkerAsk,
    WorkerEnded,
    WorkerQuestion,
    WorkerWord,
)

T = TypeVar("T")

#: Of an answer's text that streams in, the run hears so often that there is more.
_TEXT_SECONDS = 1.0
#: How often the run hears what commands have printed.
_PRINTED_SECONDS = 1.0
_HELD_BY = 0
"""Stands for the process on the run's machine that holds the agent back."""


class WorkerDesk:
    """An `AgentDesk` that is far from its run. For tasks of one event loop; `listen` has to run."""

    def __init__(self, order: AgentOrder, welcome: Welcome, link: RunLink, clock: Clock) -> None:
        """Take what the run said; `order` has a folder of this machine."""
        self._order = order
        self._link = link
        self._clock = clock
        self._replies: dict[int, asyncio.Future[RunReply]] = {}
        self._last = 0
        self._text_at = float("-inf")
        self._sent_pack: Path | None = None
        self._sent_outputs: set[str] = set()
        self._printed: Callable[[], str] = str
        self.stop: Callable[[], None] = lambda: None
        """Is called when the run wants the agent to stop."""
        self.bring: Callable[[str], Awaitable[None]] | None = None
        """Sees that an environment is here, by its key."""
        self.mailbox = Mailbox()
        self.hold = AgentHold()
        for text in welcome.mail:
            self.mailbox.say(text)
        for text in welcome.notes:
            self.mailbox.pass_on(text)
        if welcome.held:
            self.hold.take(_HELD_BY, "")
        self.store = _FarStore(self)
        self.budget = _FarBudget(self, order.spec.settings.model, welcome.price)
        self.tools: Mapping[str, Tool] = MappingProxyType(
            {name: _RunTool(name, form, self) for name, form in welcome.tools.items()}
        )

    # what passes to and fro

    async def ask(self, question: WorkerQuestion) -> RunReply:
        """Return what the run answers.

        Raises:
            CodexteamError: what it failed with.
        """
        self._last += 1
        number = self._last
        reply: asyncio.Future[RunReply] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        self._link.send(WorkerAsk(number, question))
        try:
            found = await reply
        finally:
            del self._replies[number]
        if found.error is not None:
            raise found.error
        return found

    async def value(self, question: WorkerQuestion, kind: type[T] | tuple[type[T], ...]) -> T:
        """Return the value that the run answers, which is of a kind."""
        found = (await self.ask(question)).value
        if not isinstance(found, kind):
            raise InternalError(f"the run answered {type(question).__name__} with {type(found).__name__}")
        return found

    def tell(self, word: WorkerWord) -> None:
        """Tell the run something."""
        self._link.send(Tell(word))

    async def listen(self) -> None:
        """Take what the run says, for ever.

        Raises:
            SandboxLost: the run has let go of this worker.
        """
        while True:
            match await self._link.receive():
                case RunReply() as reply:
                    waiting = self._replies.get(reply.number)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(reply)
                case Nudge(kind=kind, text=text):
                    self._nudged(kind, text)
                case other:
                    raise InternalError(f"a run said {type(other).__name__}")

    def _nudged(self, kind: NudgeKind, text: str) -> None:
        match kind:
            case NudgeKind.SAY:
                self.mailbox.say(text)
            case NudgeKind.NOTE:
                self.mailbox.pass_on(text)
            case NudgeKind.HOLD:
                self.hold.take(_HELD_BY, "")
            case NudgeKind.LET_GO:
                self.hold.let_go(_HELD_BY)
            case NudgeKind.STOP:
                self.stop()

    async def show_printed(self) -> None:
        """Tell the run what commands have printed, for ever, whenever there is more."""
        shown = ""
        while True:
            await self._clock.sleep(_PRINTED_SECONDS)
            text = self._printed()
            if text != shown:
                shown = text
                self.tell(CommandsPrinted(text))

    # as `AgentDesk` says

    async def sandbox_wanted(self) -> SandboxSpec:
        """Return what its sandbox is made of, with files of this machine."""
        reply = await self.ask(SandboxAsked())
        spec = reply.value
        if not isinstance(spec, SandboxSpec):
            raise InternalError(f"the run answered with {type(spec).__name__} where a sandbox was to be")
        here = {path: await self._link.fetch(handle) for path, handle in reply.files.items()}
        base = spec.base
        base = replace(
            base,
            root_archive=here[str(base.root_archive)],
            delta_pack=None if base.delta_pack is None else here[str(base.delta_pack)],
            extra_files=None if base.extra_files is None else here[str(base.extra_files)],
        )
        restore = spec.restore
        if restore is not None:
            restore = replace(restore, pack=here[str(restore.pack)])
        if spec.environment_key and self.bring is not None:
            await self.bring(spec.environment_key)
        return replace(spec, base=base, restore=restore)

    async def environment_file(self, key: str) -> Path:
        """Return a copy of an environment that the run's engine has, as `Environments.unpack` takes it."""
        return await self._link.fetch((await self.ask(EnvironmentAsked(key))).value)

    def sandbox_started(self, facts: SandboxFacts) -> None:
        """Note what its sandbox really is."""
        self.tell(SandboxIs(facts))

    def begins(self, prompt: Prompt, offered: frozenset[str]) -> None:
        """Note what it is asked first, and the names of its tools."""
        self.tell(AgentBegins(prompt, offered))

    def prints(self, printed: Callable[[], str]) -> None:
        """Note how it is found out what its commands have printed."""
        self._printed = printed

    def report(self, event: AgentEvent) -> None:
        """Tell what happens to it; that text streams in, from time to time."""
        match event:
            case TextStreamed():
                now = self._clock.monotonic_seconds()
                if now - self._text_at < _TEXT_SECONDS:
                    return
                self._text_at = now
                self.tell(AgentDid(TextStreamed("")))
            case BudgetAwaited():
                return  # the run reports it: it is there that the call waits
            case _:
                self.tell(AgentDid(event))

    # what it leaves

    async def left(self, snapshot: Snapshot | None) -> LeftFiles:
        """Return what of the agent's files the run has not got yet."""
        return await asyncio.to_thread(self._left, snapshot)

    def _left(self, snapshot: Snapshot | None) -> LeftFiles:
        pack = None
        if snapshot is not None and snapshot.pack.parent == self._order.folder and snapshot.pack != self._sent_pack:
            pack = snapshot.pack.read_bytes()
        outputs = {}
        folder = self._order.folder / "outputs"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in self._sent_outputs:
                outputs[path.name] = path.read_bytes()
        return LeftFiles(pack, outputs)

    def kept(self, left: LeftFiles, snapshot: Snapshot | None) -> None:
        """Note that the run has these files."""
        if left.pack is not None and snapshot is not None:
            self._sent_pack = snapshot.pack
        self._sent_outputs.update(left.outputs)

    async def ended(self, outcome: AgentOutcome) -> WorkerEnded:
        """Return the last word."""
        return WorkerEnded(outcome, left=await self.left(outcome.effort.snapshot))


@dataclass(frozen=True, slots=True)
class RunFilesAtCommit:
    """The repository's files at a commit, which an image is chosen by: the run has them."""

    desk: WorkerDesk

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """Return a file's bytes at a commit; None when it is not there."""
        return await self.desk.value(BlobAsked(commit, path, limit_bytes), (bytes, type(None)))

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Return (path, mode, blob id) of every file at a commit."""
        found: tuple[tuple[bytes, str, str], ...] = await self.desk.value(FilesAsked(commit), tuple)
        return found


@dataclass(frozen=True, slots=True)
class _FarStore:
    """An `AgentStore`."""

    desk: WorkerDesk

    async def turns(self, agent: AgentKey, *, after: int = 0) -> tuple[StoredTurn, ...]:  # noqa: ARG002 - its own are all it asks for
        found: tuple[StoredTurn, ...] = await self.desk.value(TurnsAsked(), tuple)
        return tuple(turn for turn in found if turn.turn > after)

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        return await self.desk.value(AnswerAsked(key), (StoredAnswer, type(None)))

    async def open_call(self, call: OpenCall) -> None:
        await self.desk.ask(CallOpened(call))

    async def close_call(self, key: CallKey) -> None:
        await self.desk.ask(CallClosed(key))

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        await self.desk.ask(CallAnswered(answer, tuple(facts)))

    async def record_turn(self, turn: StoredTurn, facts: Sequence[RunEvent] = ()) -> None:
        left = await self.desk.left(turn.workspace.snapshot)
        await self.desk.ask(TurnDone(turn, tuple(facts), left))
        self.desk.kept(left, turn.workspace.snapshot)


@dataclass(frozen=True, slots=True)
class _OnePrice:
    """The price of the agent's model, which is all that it asks for."""

    model: str
    price: Price | None

    def get(self, model: str, /) -> Price | None:
        return self.price if model == self.model else None


class _FarBudget:
    """A `CallBudget`. What was lost of a call is counted here too, since the loop asks for it without waiting."""

    def __init__(self, desk: WorkerDesk, model: str, price: Price | None) -> None:
        self._desk = desk
        self.prices = _OnePrice(model, price)
        self._lost: dict[CallKey, Amount] = {}

    async def reserve(
        self,
        key: CallKey,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        hand_over: bool = False,
        patience: Patience | None = None,
    ) -> Reservation | Exhausted:
        asked = ReservationAsked(key, model, input_tokens, output_tokens, hand_over)
        with (patience or Patience()).paused():
            found = (await self._desk.ask(asked)).value
        if isinstance(found, Exhausted):
            return found
        if not isinstance(found, Granted):
            raise InternalError(f"the run answered with {type(found).__name__} where budget was asked for")
        self._lost[key] = found.lost
        return found.reservation

    async def refusal(self, key: CallKey, model: str, *, input_tokens: int, output_tokens: int) -> Exhausted | None:
        asked = RefusalAsked(key, model, input_tokens, output_tokens)
        return await self._desk.value(asked, (Exhausted, type(None)))

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        self._desk.tell(CallSettled(reservation, usage))

    def lose(self, reservation: Reservation) -> None:
        self._lost[reservation.key] = self.lost(reservation.key) + reservation.amount
        self._desk.tell(CallLost(reservation))

    def release(self, reservation: Reservation) -> None:
        self._desk.tell(CallReleased(reservation))

    def lost(self, key: CallKey) -> Amount:
        return self._lost.get(key, Amount())

    def note_lost(self, key: CallKey, amount: Amount) -> None:
        self._lost[key] = self.lost(key) + amount
        self._desk.tell(LostNoted(key, amount))


@dataclass(frozen=True, slots=True)
class _RunTool:
    """A tool that the run answers."""

    name: str
    form: RunToolForm
    desk: WorkerDesk

    @property
    def definition(self) -> JSONObject:
        return self.form.definition

    @property
    def only_reads(self) -> bool:
        return self.form.only_reads

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        return await self.desk.value(RunToolCalled(self.name, arguments, call_id), ToolOutput)
