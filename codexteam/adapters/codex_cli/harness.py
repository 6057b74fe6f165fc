"""The user's Codex as a harness: the port `Harness`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codexteam.adapters.codex_cli.app_server import AppServer, AppServerError
from codexteam.adapters.codex_cli.binary import LEAST_VERSION, CodexBinary, is_new_enough, version_of
from codexteam.adapters.codex_cli.credits import CreditReader, balance_of
from codexteam.adapters.codex_cli.hands import SILENCE_SECONDS, Hands
from codexteam.adapters.codex_cli.thread import CodexThread
from codexteam.core.ids import AgentKey, JSONObject, JSONValue
from codexteam.core.plan_credits import CreditBalance, CreditsReading
from codexteam.core.plan_windows import UsageWindow, window_name
from codexteam.core.text import clean_line
from codexteam.ports.harness import HarnessOrder, HarnessReport
from codexteam.ports.sandbox import PROGRAMS

_LOG = logging.getLogger(__name__)
_UPDATE = "update it (`npm install -g @openai/codex`)"
_SIGN_IN = "sign in with `codex login`"
#: What is shown of a limit is rounded.
_USED_UP_PERCENT = 99.0
_API_KEY = "an API key"
#: What a plan includes for Codex in general; other quotas are of single models.
_GENERAL_LIMITS = (None, "codex")


class CodexHarness:
    """One app-server in the user's `CODEX_HOME` for all agents of a run."""

    def __init__(
        self,
        binary: CodexBinary,
        *,
        codex_home: Path,
        environment: Mapping[str, str],
        mcp_servers: Sequence[str] = (),
        needs_sign_in: bool = False,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """Take what it is started with; nothing is started yet.

        Args:
            binary: the user's Codex.
            codex_home: where its sign-in and its configuration are.
            environment: the user's own, which Codex has when the user starts it.
            mcp_servers: the ids of the servers that the configuration has; none of them is started for an agent.
            needs_sign_in: whether a provider that agents ask takes the sign-in of Codex.
            silence_seconds: how long an exec-server may say nothing before it is asked, and take to answer.
        """
        self._binary = binary
        self._mcp_servers = tuple(mcp_servers)
        self._needs_sign_in = needs_sign_in
        self._threads: dict[str, CodexThread] = {}
        self._windows: dict[str, UsageWindow] = {}
        self._say_windows: Callable[[Sequence[UsageWindow]], None] = lambda _: None
        self._balance: CreditBalance | None = None
        self._has_plan = needs_sign_in
        """Whether agents may use a plan that counts in credits."""
        self._credits = CreditReader(self._asked_of_running)
        self._hands = Hands(silence_seconds=silence_seconds)
        self._server = AppServer(
            str(binary.program),
            {**environment, "CODEX_HOME": str(codex_home)},
            self._listen,
            self._answer,
            self._gone,
        )

    @property
    def folder(self) -> Path:
        """The folder of programs that sandboxes have to show."""
        return self._binary.folder

    @property
    def windows(self) -> tuple[UsageWindow, ...]:
        """How far the plan's windows are used up, as last heard."""
        return tuple(self._windows.values())

    async def check(self) -> HarnessReport:
        """Start the app-server, and ask for its version and account."""
        path = str(self._binary.command)
        try:
            await self._server.start()
        except AppServerError as error:
            return HarnessReport(usable=False, path=path, problem=f"{error}; try `codex app-server` yourself")
        version = version_of(self._server.said) or self._binary.version
        if not is_new_enough(version):
            least = ".".join(str(part) for part in LEAST_VERSION)
            return HarnessReport(
                usable=False, version=version, path=path, problem=f"it is older than {least}: {_UPDATE}"
            )
        # what the account's service does not say now, the first answer will
        read = await self._asked("account/read")
        account = _account_of(read.get("account"))
        if self._needs_sign_in and not account and read.get("requiresOpenaiAuth") is True:
            return HarnessReport(usable=False, version=version, path=path, problem=f"it is not signed in: {_SIGN_IN}")
        self._has_plan = self._has_plan and account != _API_KEY
        self._take_limits((await self._asked("account/rateLimits/read")).get("rateLimits"))
        return HarnessReport(
            usable=True, version=version, path=path, account=account, windows=self.windows, balance=self._balance
        )

    async def _asked(self, method: str, params: JSONObject | None = None) -> JSONObject:
        try:
            return await self._server.request(method, params or {})
        except AppServerError as error:  # without network, or without a plan
            _LOG.debug("%s: %s", method, error)
            return {}

    async def _asked_of_running(self, method: str, params: JSONObject) -> JSONObject:
        return await self._asked(method, params) if self._server.running else {}

    def watch_windows(self, listen: Callable[[Sequence[UsageWindow]], None]) -> None:
        """As `Harness` says."""
        self._say_windows = listen

    def watch_credits(self, listen: Callable[[CreditsReading], None], threads: Mapping[str, AgentKey]) -> None:
        """As `Harness` says."""
        self._credits.watch(listen, threads if self._has_plan else {})
        if self._balance is not None:
            listen(CreditsReading(balance=self._balance))

    async def read_credits(self) -> None:
        """As `Harness` says."""
        await self._credits.read_rest()

    def agent(self, order: HarnessOrder) -> CodexThread:
        """Return an agent that is not started yet."""
        return CodexThread(
            order, self._server, self._hands, self.inside, self._mcp_servers, self._register, self._resets_at
        )

    def _resets_at(self) -> float | None:
        """Return when requests are let through again: once the last limit that is used up has reset."""
        known = [window.resets_at_seconds for window in self.windows if window.used_percent >= _USED_UP_PERCENT]
        return max((at for at in known if at is not None), default=None)

    @property
    def inside(self) -> str:
        """The program's path inside every sandbox."""
        return f"{PROGRAMS}/{self._binary.program.name}"

    async def close(self) -> None:
        """End the app-server; agents are closed by their owners before."""
        await self._credits.close()
        await self._server.close()
        await self._hands.close()

    def _register(self, thread_id: str, thread: CodexThread | None) -> None:
        if thread is None:
            self._threads.pop(thread_id, None)
        else:
            self._threads[thread_id] = thread
            if self._has_plan:
                self._credits.follow(thread_id, thread.order.agent)

    def _listen(self, method: str, params: JSONObject) -> None:
        if method == "account/rateLimits/updated":
            self._take_limits(params.get("rateLimits"))
            return
        thread_id = str(params.get("threadId", ""))
        if method == "rawResponse/completed":
            self._credits.answered(thread_id)
        thread = self._threads.get(thread_id)
        if thread is not None:
            thread.take(method, params)

    async def _answer(self, method: str, params: JSONObject) -> JSONObject | None:
        thread = self._threads.get(str(params.get("threadId", "")))
        if thread is None or method != "item/tool/call":
            return None
        return await thread.call_tool(params)

    def _gone(self, why: str) -> None:
        for thread in list(self._threads.values()):
            thread.gone(why)

    def _take_limits(self, limits: JSONValue) -> None:
        if not isinstance(limits, dict) or limits.get("limitId") not in _GENERAL_LIMITS:
            return
        for name in ("primary", "secondary"):
            window = limits.get(name)
            if isinstance(window, dict) and (known := _window_of(window)) is not None:
                self._windows[known.name] = known
        self._say_windows(self.windows)
        if (balance := balance_of(limits.get("credits"))) is not None and balance != self._balance:
            self._balance = balance
            self._credits.say(CreditsReading(balance=balance))


def _window_of(window: JSONObject) -> UsageWindow | None:
    used, minutes, resets = window.get("usedPercent"), window.get("windowDurationMins"), window.get("resetsAt")
    if not isinstance(used, int | float):
        return None
    name = window_name(minutes if isinstance(minutes, int) else None)
    return UsageWindow(name, float(used), float(resets) if isinstance(resets, int | float) else None)


def _account_of(account: JSONValue) -> str:
    if not isinstance(account, dict):
        return ""
    match account.get("type"):
        case "chatgpt":
            return clean_line(f"ChatGPT {account.get('planType') or ''}".strip())
        case "apiKey":
            return _API_KEY
        case kind:
            return clean_line(str(kind))
