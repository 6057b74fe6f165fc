"""The host whose agents' loops run on workers of a cluster: here is the run's end of what they say to each other.

Only this process writes the store, and only while it reads the messages of that very worker: what a worker says that it has
let go of reaches nobody. When a worker is gone, its calls that were sent count as spent, as after a kill; the agent then
begins again elsewhere, from its last stored turn.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from codexteam.agent.desk import AgentDesk
from codexteam.agent.event_fields import BudgetAwaited
from codexteam.agent.mail import message_item
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.reservations import Patience
from codexteam.agent.tools.tool import ToolProblem
from codexteam.agent.transcript import user_item
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, CallKey, JSONObject
from codexteam.core.redaction import Redactor, redact_texts
from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError, HostLost, InternalError, SandboxUnavailable
from codexteam.ports.clock import Clock
from codexteam.ports.model import CallGates, CutShort, ModelAnswer
from codexteam.ports.repo import Repo
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import SandboxSpec, Snapshot, WorkspaceState
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.ports.store import StoredTurn
from codexteam.ports.workers import Worker, Workers
from codexteam.run.host import AgentOrder
from codexteam.run.worker_files import safe_name, write_whole
from codexteam.run.worker_gates import PassagesHeld
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
    Opened,
    PassageAsked,
    PassageNews,
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
    WorkerOrder,
    WorkerQuestion,
    WorkerWord,
)
from codexteam.system.cancellation import stopped, to_its_end

T = TypeVar("T")

#: A worker that is told to stop has so long to kill its commands and to remove its sandbox.
_STOP_SECONDS = 20.0


@dataclass(slots=True)
class WorkerHost:
    """A `Host` over a cluster's workers. The cluster is closed by who opened it."""

    workers: Workers
    gates: CallGates
    """What all calls of the run pass."""
    repo: Repo
    engine: SandboxEngine
    """The run's own: environments are kept there, and workers get copies."""
    redactor: Redactor
    clock: Clock
    version: str
    owner: str
    surroundings: object
    """What a worker makes its engine and its model of; no secret is in it."""
    environments_folder: Path
    """Where copies of environments are written that workers fetch."""
    _at_work: set[AgentKey] = field(default_factory=set)
    _swept: set[str] = field(default_factory=set)
    """Hosts that were told since they were last lost which sandboxes are ours."""
    _packing: dict[str, "asyncio.Task[object]"] = field(default_factory=dict)
    """By environment: the handle that workers fetch it by."""

    @property
    def places(self) -> int | None:
        """The cluster's."""
        return self.workers.places

    async def work(self, order: AgentOrder, desk: AgentDesk) -> AgentOutcome:
        """Let an agent work to its end on a worker; see `Host.work`."""
        key = order.spec.key
        sent = WorkerOrder(order, self.version, self.owner, self.surroundings)
        self._at_work.add(key)
        try:
            worker = await self.workers.begin(str(key), sent)
            conversation = _Conversation(self, order, desk, worker, PassagesHeld(self.gates))
            try:
                return await conversation.hold()
            except HostLost:
                self._swept.discard(worker.host)  # what it left there is removed when it is back
                raise
            finally:
                await to_its_end(conversation.close())
        finally:
            self._at_work.discard(key)

    def sweeps(self, host: str) -> tuple[AgentKey, ...] | None:
        """Return which agents are at work, where a host is to remove the sandboxes of all others; None: it did."""
        if host in self._swept:
            return None
        self._swept.add(host)
        return tuple(self._at_work)

    async def environment(self, key: str) -> object:
        """Return the handle of a copy of an environment, made once."""
        packing = self._packing.get(key)
        if packing is None or (packing.done() and packing.exception() is not None):
            packing = self._packing[key] = asyncio.ensure_future(self._pack(key))
        return await asyncio.shield(packing)

    async def _pack(self, key: str) -> object:
        self.environments_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.environments_folder / f"{key}.environment"
        await self.engine.environments.pack(key, path)
        try:
            return await self.workers.share(path)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def close(self) -> None:
        """Stop copying environments."""
        for packing in self._packing.values():
            await stopped(packing)


@dataclass(slots=True)
class _Conversation:
    """What is said with one worker."""

    host: WorkerHost
    order: AgentOrder
    desk: AgentDesk
    worker: Worker
    gates: PassagesHeld
    reserved: dict[int, Reservation] = field(default_factory=dict)
    """Of calls on their way."""
    sent: set[CallKey] = field(default_factory=set)
    """The calls that may be billed."""
    answered: dict[CallKey, Usage | None] = field(default_factory=dict)
    """What the calls were billed whose answers are stored."""
    answering: "set[asyncio.Task[None]]" = field(default_factory=set)
    nudges: "asyncio.Queue[Nudge]" = field(default_factory=asyncio.Queue)
    nudging: "asyncio.Task[None] | None" = None
    known: dict[Path, Snapshot] = field(default_factory=dict)
    """Work that a worker took out, by the path that it has there."""
    ours: Path | None = None
    """The newest file of the agent's work that we wrote; the one before it goes."""
    printed: str = ""

    async def hold(self) -> AgentOutcome:
        """Answer the worker until the agent has ended."""
        try:
            while True:
                match await self.worker.receive():
                    case Opened(host=host):
                        await self._welcome(host)
                    case WorkerAsk() as ask:
                        self._begin(self._answer(ask))
                    case Tell(word=word):
                        self._take(word)
                    case WorkerEnded() as ended:
                        return await self._end(ended)
                    case other:
                        raise InternalError(f"a worker said {type(other).__name__}")
        except asyncio.CancelledError:
            await to_its_end(self._stop())
            raise

    async def _stop(self) -> None:
        """Ask the worker to stop, and wait until it has removed its sandbox; what it says meanwhile still counts."""
        if not self.worker.host:
            return  # it has not begun
        try:
            await self.worker.send(Nudge(NudgeKind.STOP))
            async with asyncio.timeout(_STOP_SECONDS):
                while True:
                    match await self.worker.receive():
                        case WorkerAsk() as ask:
                            self._begin(self._answer(ask))
                        case Tell(word=word):
                            self._take(word)
                        case _:
                            return
        except (TimeoutError, CodexteamError):
            return  # it is ended with force, or gone

    async def close(self) -> None:
        """End the worker, and count its calls that nobody answered."""
        self.desk.mailbox.on_message = self.desk.mailbox.on_note = None
        self.desk.hold.on_take = self.desk.hold.on_free = None
        if self.nudging is not None:
            await stopped(self.nudging)
        for task in [*self.answering]:
            await stopped(task)
        await self.gates.close()
        try:
            await self.worker.close()
        finally:
            for reservation in self.reserved.values():
                if reservation.key in self.answered:
                    self.desk.budget.settle(reservation, self.answered[reservation.key])
                elif reservation.key in self.sent:
                    self.desk.budget.lose(reservation)
                else:
                    self.desk.budget.release(reservation)
            self.reserved.clear()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    async def _welcome(self, host: str) -> None:
        desk = self.desk
        tools = {name: RunToolForm(tool.definition, tool.only_reads) for name, tool in desk.tools.items()}
        price = desk.budget.prices.get(self.order.spec.settings.model)
        mail, notes, held = desk.mailbox.waiting(), desk.mailbox.notes(), desk.hold.is_taken
        desk.prints(lambda: self.printed)
        desk.mailbox.on_message = lambda text: self.nudges.put_nowait(Nudge(NudgeKind.SAY, text))
        desk.mailbox.on_note = lambda text: self.nudges.put_nowait(Nudge(NudgeKind.NOTE, text))
        desk.hold.on_take = lambda: self.nudges.put_nowait(Nudge(NudgeKind.HOLD))
        desk.hold.on_free = lambda: self.nudges.put_nowait(Nudge(NudgeKind.LET_GO))
        await self.worker.send(Welcome(price, tools, mail, notes, held, self.host.sweeps(host)))
        self.nudging = asyncio.ensure_future(self._nudge())

    async def _nudge(self) -> None:
        while True:
            await self.worker.send(await self.nudges.get())

    async def _answer(self, ask: WorkerAsk) -> None:
        files: Mapping[str, object] = {}
        value: object = None
        failed: Exception | None = None
        try:
            value = await self._value(ask.question)
            if isinstance(value, SandboxSpec):
                files = await self._shared(value)
        except (CodexteamError, ToolProblem) as error:
            failed = error
        except OSError as error:
            failed = SandboxUnavailable(f"a worker's file cannot be read or written: {error}")
        with suppress(HostLost):  # `receive` says it to who waits
            await self.worker.send(RunReply(ask.number, value, failed, files))

    async def _value(self, question: WorkerQuestion) -> object:
        match question:
            case SandboxAsked():
                return await self.desk.sandbox_wanted()
            case EnvironmentAsked(key=environment_key):
                return await self.host.environment(environment_key)
            case FilesAsked(commit=commit):
                return await self.host.repo.list_files(commit)
            case BlobAsked(commit=commit, path=path, limit_bytes=limit):
                return await self.host.repo.read_blob(commit, path, limit_bytes=limit)
            case ReservationAsked():
                return await self._reserve(question)
            case RefusalAsked(key, model, input_tokens, output_tokens):
                return await self.desk.budget.refusal(
                    key, model, input_tokens=input_tokens, output_tokens=output_tokens
                )
            case PassageAsked():
                await self.gates.enter(question)
                return None
            case RunToolCalled(name=name, arguments=arguments, call_id=call_id):
                return await self.desk.tools[name].call(arguments, call_id=call_id)
            case _:
                return await self._stored(question)

    async def _stored(
        self, question: TurnsAsked | AnswerAsked | CallOpened | CallClosed | CallAnswered | TurnDone
    ) -> object:
        store = self.desk.store
        match question:
            case TurnsAsked():
                return await self._turns()
            case AnswerAsked(key=key):
                return await store.answer(key)
            case CallOpened(call=call):
                self._refuse_others(call.key.agent)
                self.sent.add(call.key)
                await store.open_call(call)
            case CallClosed(key=key):
                self._refuse_others(key.agent)
                self.sent.discard(key)
                await store.close_call(key)
            case CallAnswered(answer=answer, facts=facts):
                self._refuse_others(answer.key.agent)
                # stopped in the middle of it, the call would count twice: as lost, and as stored
                await to_its_end(store.record_answer(answer, self._told_here(facts)))
                end = answer.answer.end
                self.answered[answer.key] = end.usage if isinstance(end, ModelAnswer | CutShort) else None
            case TurnDone():
                await self._record(question)
        return None

    async def _turns(self) -> tuple[StoredTurn, ...]:
        turns = tuple(await self.desk.store.turns(self.order.spec.key))
        snapshot = turns[-1].workspace.snapshot if turns else None
        if snapshot is not None and snapshot.pack.parent == self.order.folder:
            self.ours = snapshot.pack
        return turns

    def _told_here(self, facts: Sequence[RunEvent]) -> list[RunEvent]:
        """Take a worker's facts as they are when they arrive: its clock need not be ours."""
        now = self.host.clock.wall_seconds()
        return [replace(fact, at_seconds=now) for fact in self._redacted(tuple(facts))]

    def _refuse_others(self, agent: AgentKey) -> None:
        if agent != self.order.spec.key:
            raise InternalError(f"the worker of {self.order.spec.key} speaks for {agent}")

    def _redacted(self, value: T) -> T:
        """Take the secrets of this machine out, which a worker does not know."""
        return redact_texts(value, self.host.redactor.redact)

    async def _reserve(self, asked: ReservationAsked) -> Granted | Exhausted:
        self._refuse_others(asked.key.agent)
        budget = self.desk.budget
        found = await budget.reserve(
            asked.key,
            asked.model,
            input_tokens=asked.input_tokens,
            output_tokens=asked.output_tokens,
            hand_over=asked.hand_over,
            patience=Patience(report=lambda reason: self.desk.report(BudgetAwaited(reason))),
        )
        if isinstance(found, Exhausted):
            return found
        self.reserved[found.id] = found
        return Granted(found, budget.lost(asked.key))

    async def _record(self, done: TurnDone) -> None:
        turn = done.turn
        self._refuse_others(turn.agent)
        snapshot = await self._take_left(done.left, turn.workspace.snapshot)
        kept = replace(
            turn,
            outputs=tuple(self.host.redactor.redact_object(item) for item in turn.outputs),
            workspace=WorkspaceState(snapshot, self._redacted(turn.workspace.remarks)),
        )
        await to_its_end(self.desk.store.record_turn(kept, self._told_here(done.facts)))
        self._drop_read(kept.outputs)
        newest = None if snapshot is None or snapshot.pack.parent != self.order.folder else snapshot.pack
        older, self.ours = self.ours, newest
        if older is not None and older != newest:
            await asyncio.to_thread(older.unlink, missing_ok=True)

    def _drop_read(self, outputs: Sequence[JSONObject]) -> None:
        """Take the mail that is in a stored turn out: who works on after this one reads it there."""
        mailbox, left = self.desk.mailbox, [*outputs]
        mailbox.drop(self._count_read([message_item(text) for text in mailbox.waiting()], left))
        mailbox.drop_notes(self._count_read([user_item(text) for text in mailbox.notes()], left))

    def _count_read(self, mail: Sequence[JSONObject], left: list[JSONObject]) -> int:
        for count, item in enumerate(mail):
            stored = self.host.redactor.redact_object(item)
            if stored not in left:
                return count
            left.remove(stored)
        return len(mail)

    async def _take_left(self, left: LeftFiles, snapshot: Snapshot | None) -> Snapshot | None:
        """Write what an agent left into its folder here; give its snapshot as it is then."""
        await asyncio.to_thread(self._write_left, left, snapshot)
        if snapshot is None or left.pack is None:
            return None if snapshot is None else self.known.get(snapshot.pack, snapshot)
        here = replace(snapshot, pack=self.order.folder / snapshot.pack.name)
        self.known[snapshot.pack] = here
        return here

    def _write_left(self, left: LeftFiles, snapshot: Snapshot | None) -> None:
        folder = self.order.folder
        if snapshot is not None and left.pack is not None:
            write_whole(folder / safe_name(snapshot.pack.name), left.pack)
        for name, data in left.outputs.items():
            text = self.host.redactor.redact(data.decode("utf-8", "replace"))
            write_whole(folder / "outputs" / safe_name(name), text.encode("utf-8", "replace"))

    async def _shared(self, spec: SandboxSpec) -> dict[str, object]:
        base, restore = spec.base, spec.restore
        paths = [base.root_archive, base.delta_pack, base.extra_files, None if restore is None else restore.pack]
        return {str(path): await self.host.workers.share(path) for path in paths if path is not None}

    def _take(self, word: WorkerWord) -> None:
        desk = self.desk
        match word:
            case CallSettled() | CallLost() | CallReleased():
                self._let_go(word)
            case PassageNews():
                self.gates.take(word)
            case LostNoted(key=key, amount=amount):
                desk.budget.note_lost(key, amount)
            case AgentDid(event=event):
                desk.report(self._redacted(event))
            case AgentBegins(prompt=prompt, offered=offered):
                desk.begins(prompt, offered)
            case SandboxIs(facts=facts):
                desk.sandbox_started(replace(facts, host=self.worker.host))
            case CommandsPrinted(text=text):
                self.printed = self._redacted(text)

    def _let_go(self, word: CallSettled | CallLost | CallReleased) -> None:
        reservation = self.reserved.pop(word.reservation.id, None)
        if reservation is None:
            return
        match word:
            case CallSettled(usage=usage):
                self.desk.budget.settle(reservation, usage)
            case CallLost():
                self.desk.budget.lose(reservation)
            case CallReleased():
                self.desk.budget.release(reservation)

    async def _end(self, ended: WorkerEnded) -> AgentOutcome:
        if ended.error is not None:
            raise ended.error
        if ended.outcome is None:
            raise HostLost(
                f"the worker of {self.order.spec.key} on {clean_line(self.worker.host)} was stopped from outside"
            )
        effort = ended.outcome.effort
        snapshot = await self._take_left(ended.left, effort.snapshot)
        remarks = self._redacted(effort.remarks)
        return replace(ended.outcome, effort=replace(effort, snapshot=snapshot, remarks=remarks))
