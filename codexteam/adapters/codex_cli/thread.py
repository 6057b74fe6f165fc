"""One agent as a thread of the app-server: notifications become the events of a model call, tools are offered in its form."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from codexteam.adapters.codex_cli.app_server import AppServer, AppServerError
from codexteam.adapters.codex_cli.binary import is_new_enough, version_of
from codexteam.adapters.codex_cli.failures import Failed, failure_of
from codexteam.adapters.codex_cli.hands import Hand, Hands
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError, SandboxLost, SandboxUnavailable
from codexteam.ports.harness import HarnessOrder, OfferedTool
from codexteam.ports.model import (
    CallFailed,
    CallFailureKind,
    ItemDone,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    Sending,
    StreamOpened,
    StreamRestarted,
    TextDelta,
)
from codexteam.ports.sandbox import WORKSPACE
from codexteam.system.cancellation import to_its_end

#: How long a turn that was answered, or interrupted, may take to end.
_TURN_END_SECONDS = 30.0
#: How long nothing may be heard of a thread whose model was asked.
_SILENT_SECONDS = 1800.0
#: Items of a thread's history that its model did not say.
_NOT_SAID: Final = ("additional_tools", "compaction", "compaction_summary")
#: For each thread: what Codex would do beside the work, or read although it is in the prompt already.
_SWITCHED_OFF: Final[JSONObject] = {
    "agents.enabled": False,
    "project_doc_max_bytes": 0,
    "skills.include_instructions": False,
    "features.apps": False,
    "features.goals": False,
    "features.memories": False,
}


@dataclass(slots=True)
class CodexThread:
    """The port `HarnessAgent`."""

    order: HarnessOrder
    server: AppServer
    hands: Hands
    program: str
    mcp_servers: Sequence[str]
    """Those of the user's configuration: Codex would start them on the host."""
    register: Callable[[str, "CodexThread | None"], None]
    """Makes a thread's notifications come here, by its id; None: no longer."""
    resets_at: Callable[[], float | None] = lambda: None
    """When the limit of the plan that is used up resets."""
    _hand: Hand | None = None
    _name: str = ""
    _id: str = ""
    _turn: str = ""
    """The turn under way; empty between two."""
    _seen: int = 0
    """How many items of the transcript the thread has."""
    _came: "asyncio.Queue[tuple[str, JSONObject]]" = field(default_factory=asyncio.Queue)
    _items: list[JSONObject] = field(default_factory=list)
    """What the model has said since its last answer."""
    _outputs: dict[str, JSONObject] = field(default_factory=dict)
    _used: Usage = field(default_factory=Usage)
    """What the answers so far used."""
    _total: Usage = field(default_factory=Usage)
    """What the app-server says that the thread used."""
    _final: bool = False
    """Whether the last answer asked for nothing."""
    _failure: Failed | None = None
    _lost: CodexteamError | None = None

    def take(self, method: str, params: JSONObject) -> None:
        """Take a notification of this thread."""
        self._came.put_nowait((method, params))

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """As `Model` says: wait for the next answer, once the thread has all that the request holds."""
        try:
            await self._prepare(request)
            yield Sending()
            await self._set_going(request)
        except AppServerError as error:
            self._forget()  # how far it came is not known: the next call begins anew
            yield CallFailed(CallFailureKind.UNAVAILABLE, str(error))
            return
        ended = False
        try:
            async for event in self._answer():
                ended = isinstance(event, ModelAnswer | CallFailed)
                yield event
        finally:
            if not ended:
                await to_its_end(self._interrupt())

    async def outputs(self, call_ids: Sequence[str]) -> list[JSONObject]:
        """As `HarnessAgent` says."""
        assert self._hand is not None
        self._hand.open_gate()
        try:
            while self._turn and any(call_id not in self._outputs for call_id in call_ids):
                method, params = await self._next()
                self._note(method, params)
        except AppServerError as error:
            self._failure = Failed(CallFailed(CallFailureKind.UNAVAILABLE, str(error), may_be_billed=True))
            self._turn = ""
        finally:
            self._hand.shut_gate()
        return [self._outputs.pop(call_id) for call_id in call_ids if call_id in self._outputs]

    async def call_tool(self, params: JSONObject) -> JSONObject:
        """Do a call of one of our own tools, once the gate is open; give what the app-server gives its model."""
        assert self._hand is not None
        await self._hand.opened()
        tool = next((tool for tool in self.order.tools if offered_name(tool) == params.get("tool")), None)
        if tool is None:
            return {"success": False, "contentItems": [{"type": "inputText", "text": "There is no such tool."}]}
        content = await tool.call(json.dumps(params.get("arguments")), str(params.get("callId", "")))
        return {"success": True, "contentItems": content_items(content)}

    async def close(self) -> None:
        """End its turn and what it started in the sandbox."""
        await to_its_end(self._close())

    async def _close(self) -> None:
        if self._hand is None:
            return
        try:
            if self._turn and self.server.running:
                await self._interrupt()
            if self._id and self.server.running:
                await self.server.request("thread/unsubscribe", {"threadId": self._id})
        except AppServerError:
            return  # it ended before
        finally:
            self.register(self._id, None)
            self.hands.drop(self._name)
            await self._hand.close()

    # a thread that knows what the transcript has

    async def _prepare(self, request: ModelRequest) -> None:
        """Start the thread with the transcript, or bring it up to the transcript's end."""
        if self._lost is not None:
            raise self._lost
        if self._failure is not None:
            # what failed since the last answer: the thread is left, and the next call begins one from what is stored
            failure, self._failure = self._failure, None
            self._forget()
            if failure.error is not None:
                raise failure.error
        if self._id:
            return
        self._forget()
        await self._begin(request)

    def _forget(self) -> None:
        if self._id:
            self.register(self._id, None)
        self._id = self._turn = ""
        self._items.clear()
        self._outputs.clear()
        self._used = self._total = Usage()
        while not self._came.empty():
            self._came.get_nowait()

    async def _begin(self, request: ModelRequest) -> None:
        await self.server.renew()
        version = version_of(self.server.said)
        if not is_new_enough(version):
            raise AppServerError(f"codex was replaced by version {version}, which is too old to be the engine")
        settings = self.order.settings
        agent = self.order.agent
        await self.order.sandbox()  # without one, nobody is asked
        if self._hand is None:
            self._hand = Hand(self.order.sandbox, self.program, self._sandbox_lost)
            self._name = f"{agent}".replace("/", "-").replace(" ", "-") + f"-{id(self):x}"
        self._hand.shut_gate()
        added: JSONObject = {
            "environmentId": self._name,
            "execServerUrl": await self.hands.url(self._name, self._hand),
            "authBearerToken": self._hand.token,
        }
        await self.server.request("environment/add", added)
        config: JSONObject = {**_SWITCHED_OFF, "web_search": settings.web_search}
        config |= {f"mcp_servers.{name}.enabled": False for name in self.mcp_servers}
        if settings.summary is not None:
            config["model_reasoning_summary"] = settings.summary
        if settings.verbosity is not None:
            config["model_verbosity"] = settings.verbosity
        started = await self.server.request(
            "thread/start",
            {
                "cwd": WORKSPACE,
                "environments": [{"environmentId": self._name, "cwd": WORKSPACE}],
                "approvalPolicy": "never",
                "sandbox": "danger-full-access",
                "developerInstructions": request.instructions,
                "model": settings.model,
                "modelProvider": settings.provider_id,
                "serviceTier": settings.service_tier,
                "config": config,
                "dynamicTools": [dynamic_tool(tool) for tool in self.order.tools],
                "ephemeral": True,
                "experimentalRawEvents": True,
            },
        )
        thread = started.get("thread")
        self._id = str(thread.get("id", "")) if isinstance(thread, dict) else ""
        if not self._id:
            raise AppServerError("codex app-server started no thread")
        self.register(self._id, self)
        await self.server.request("thread/inject_items", {"threadId": self._id, "items": list(request.input)})
        self._seen = len(request.input)

    async def _set_going(self, request: ModelRequest) -> None:
        """Begin a turn if none is under way, and say what was put into the transcript behind the last answer."""
        said = [text for item in request.input[self._seen :] if (text := _user_text(item))]
        self._seen = len(request.input)
        if self._turn and not said:
            return
        texts: list[JSONValue] = [{"type": "text", "text": text} for text in said]
        if self._turn and self._final:
            await self._until_turn_ends()  # it is about to
        if self._turn:
            try:
                steer: JSONObject = {"threadId": self._id, "expectedTurnId": self._turn, "input": texts}
                await self.server.request("turn/steer", steer)
            except AppServerError:
                await self._until_turn_ends()
            else:
                return
        network = "enabled" if self.order.network else "restricted"
        turn: JSONObject = {
            "threadId": self._id,
            "input": texts,
            "effort": self.order.settings.effort,
            "sandboxPolicy": {"type": "externalSandbox", "networkAccess": network},
            "outputSchema": request.output_schema.schema if request.output_schema else None,
            "responsesapiClientMetadata": dict(self.order.metadata),
        }
        began = (await self.server.request("turn/start", turn)).get("turn")
        self._turn = str(began.get("id", "")) if isinstance(began, dict) else ""

    async def _until_turn_ends(self) -> None:
        try:
            async with asyncio.timeout(_TURN_END_SECONDS):
                while self._turn:
                    self._note(*await self._next())
        except TimeoutError:
            raise AppServerError(f"codex did not end its turn within {_TURN_END_SECONDS:.0f} s") from None

    async def _answer(self) -> AsyncIterator[ModelEvent]:
        yield StreamOpened()
        tries = 1
        while True:
            try:
                method, params = await self._next()
            except AppServerError as error:
                self._turn = ""
                self._failure = Failed(CallFailed(CallFailureKind.UNAVAILABLE, str(error), may_be_billed=True))
                yield self._failure.end
                return
            match method:
                case "item/agentMessage/delta":
                    yield TextDelta(str(params.get("delta", "")))
                case "error" if params.get("willRetry") is True:
                    tries += 1
                    self._items.clear()
                    yield StreamRestarted(_message_of(params.get("error")), 0.0, tries)
                case "rawResponse/completed":
                    yield self._finished(params)
                    return
                case "turn/completed":
                    self._note(method, params)
                    failed = self._failure or Failed(
                        CallFailed(
                            CallFailureKind.PROTOCOL, "codex ended its turn without an answer", may_be_billed=True
                        )
                    )
                    self._failure = None
                    if failed.error is not None:
                        raise failed.error
                    yield failed.end
                    return
                case _:
                    before = len(self._items)
                    self._note(method, params)
                    for item in self._items[before:]:
                        yield ItemDone(item)

    def _finished(self, params: JSONObject) -> ModelAnswer:
        items, self._items = tuple(self._items), []
        self._final = not any(str(item.get("type", "")).endswith("_call") and "call_id" in item for item in items)
        usage = _usage_of(params.get("usage"))
        extra = _difference(self._total, self._used)
        if usage is not None:
            self._used += usage
            if extra is not None:
                usage += extra
                self._used += extra
        response = params.get("responseId")
        return ModelAnswer(items, usage, response if isinstance(response, str) else "")

    # what comes

    async def _next(self) -> tuple[str, JSONObject]:
        if self._lost is not None:
            raise self._lost
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                method, params = await self._came.get()
        except TimeoutError:
            raise AppServerError(f"nothing was heard of codex for {_SILENT_SECONDS / 60:.0f} min") from None
        if method == _GONE:
            raise self._end_of(params)
        return method, params

    def _end_of(self, params: JSONObject) -> Exception:
        return self._lost if self._lost is not None else AppServerError(str(params.get("why", "")))

    def _note(self, method: str, params: JSONObject) -> None:
        match method:
            case "rawResponseItem/completed":
                item = params.get("item")
                if isinstance(item, dict) and params.get("turnId") == self._turn:
                    self._note_item(item)
            case "thread/tokenUsage/updated":
                usage = params.get("tokenUsage")
                total = _usage_of(usage.get("total")) if isinstance(usage, dict) else None
                self._total = self._total if total is None else total
            case "turn/completed":
                turn = params.get("turn")
                if isinstance(turn, dict) and turn.get("id") == self._turn:
                    self._turn = ""
                    self._failure = failure_of(turn, self.resets_at())
            case _:
                return  # shown by what follows it

    def _note_item(self, item: JSONObject) -> None:
        kind, call_id = str(item.get("type", "")), item.get("call_id")
        kept = {name: value for name, value in item.items() if name not in _OWN_FIELDS}
        if kind.endswith("_output"):
            if isinstance(call_id, str):
                self._outputs[call_id] = kept
        elif item.get("role") not in ("user", "developer", "system") and kind not in _NOT_SAID:
            self._items.append(kept)

    def gone(self, why: str) -> None:
        """Note that the app-server ended."""
        self._came.put_nowait((_GONE, {"why": why}))

    def _sandbox_lost(self, error: CodexteamError) -> None:
        passes = isinstance(error, SandboxLost | SandboxUnavailable)
        self._lost = error if passes else SandboxLost(clean_line(str(error)), hint=error.hint)
        self._came.put_nowait((_GONE, {}))

    async def _interrupt(self) -> None:
        if not self._turn or not self.server.running:
            return
        try:
            await self.server.request("turn/interrupt", {"threadId": self._id, "turnId": self._turn})
            await self._until_turn_ends()
        except (AppServerError, SandboxLost):
            self._turn = ""
        finally:
            # what the thread knows since is not stored
            self._forget()


#: Stands in the queue for the end of the process, or of the sandbox.
_GONE: Final = "codexteam/gone"
#: Fields of Codex's own that its history takes back without.
_OWN_FIELDS: Final = frozenset({"internal_chat_message_metadata_passthrough"})


def _user_text(item: JSONObject) -> str:
    content = item.get("content")
    if item.get("type") != "message" or item.get("role") != "user" or not isinstance(content, list):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _message_of(error: JSONValue) -> str:
    return clean_line(str(error.get("message", ""))) if isinstance(error, dict) else "the request failed"


def _usage_of(value: JSONValue) -> Usage | None:
    if not isinstance(value, dict):
        return None
    numbers = [
        value.get(name) for name in ("inputTokens", "cachedInputTokens", "outputTokens", "reasoningOutputTokens")
    ]
    if not all(isinstance(number, int) for number in numbers):
        return None
    return Usage(*(number for number in numbers if isinstance(number, int)))


def _difference(total: Usage, used: Usage) -> Usage | None:
    """Return what was used besides answers; None where there is nothing, or the total is not up to date."""
    extra = Usage(
        max(total.input_tokens - used.input_tokens, 0),
        max(total.cached_input_tokens - used.cached_input_tokens, 0),
        max(total.output_tokens - used.output_tokens, 0),
        max(total.reasoning_tokens - used.reasoning_tokens, 0),
    )
    return extra if extra.total_tokens else None


#: The beginning of names that Codex keeps for servers it starts itself.
_RESERVED: Final = "mcp__"


def offered_name(tool: OfferedTool) -> str:
    """Return the name under which Codex offers a tool."""
    return str(tool.definition.get("name", "")).removeprefix(_RESERVED)


def dynamic_tool(tool: OfferedTool) -> JSONObject:
    """Return a tool's entry in `dynamicTools`."""
    return {
        "type": "function",
        "name": offered_name(tool),
        "description": tool.definition.get("description") or "",
        "inputSchema": tool.definition.get("parameters") or {"type": "object"},
    }


def content_items(content: str | tuple[JSONObject, ...]) -> list[JSONValue]:
    """Return an output as an app-server takes it: texts, and pictures by their data."""
    if isinstance(content, str):
        return [{"type": "inputText", "text": content}]
    items: list[JSONValue] = []
    for part in content:
        if part.get("type") == "input_image":
            items.append({"type": "inputImage", "imageUrl": part.get("image_url")})
        else:
            items.append({"type": "inputText", "text": part.get("text")})
    return items
