"""A harness that plays a script: its model's answers, and its own hands for `exec_command`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.plan_credits import CreditsReading
from codexteam.core.plan_windows import UsageWindow
from codexteam.ports.harness import HarnessOrder, HarnessReport
from codexteam.ports.model import ModelAnswer, ModelEvent, ModelRequest, Sending, StreamOpened
from codexteam.ports.sandbox import Command

#: Gives the items of an answer for what the model has seen: the transcript.
Script = Callable[[HarnessOrder, Sequence[JSONObject]], Sequence[JSONObject]]


class FakeHarness:
    """Plays one script for all agents; `agents` has them."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.agents: list[FakeHarnessAgent] = []
        self.say_windows: Callable[[Sequence[UsageWindow]], None] = lambda _: None
        """Says how far the plan's windows are used up, as the service does."""
        self.say_credits: Callable[[CreditsReading], None] = lambda _: None
        """Says what the plan counts in credits."""

    @property
    def folder(self) -> Path:
        """A folder that is there."""
        return Path("/usr/bin")

    async def check(self) -> HarnessReport:
        """It can always be used."""
        return HarnessReport(usable=True, version="1.0.0", path="fake")

    def watch_windows(self, listen: Callable[[Sequence[UsageWindow]], None]) -> None:
        """Say them to who asks."""
        self.say_windows = listen

    def watch_credits(self, listen: Callable[[CreditsReading], None], threads: Mapping[str, AgentKey]) -> None:
        """Say them to who asks."""
        self.say_credits = listen

    async def read_credits(self) -> None:
        """All is said."""

    def agent(self, order: HarnessOrder) -> "FakeHarnessAgent":
        """Return an agent of the script."""
        self.agents.append(FakeHarnessAgent(order, self.script))
        return self.agents[-1]

    async def close(self) -> None:
        """Nothing to end."""


class FakeHarnessAgent:
    """One agent: what it is asked stands in `seen`."""

    def __init__(self, order: HarnessOrder, script: Script) -> None:
        self.order = order
        self.seen: list[Sequence[JSONObject]] = []
        self.closed = False
        self._script = script
        self._calls: dict[str, JSONObject] = {}

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Answer with what the script says, once there is a sandbox."""
        await self.order.sandbox()
        yield Sending()
        yield StreamOpened()
        await asyncio.sleep(0)
        self.seen.append(tuple(request.input))
        items = tuple(self._script(self.order, request.input))
        self._calls = {str(item["call_id"]): item for item in items if "call_id" in item}
        yield ModelAnswer(items, Usage(100, 0, 20, 0))

    async def outputs(self, call_ids: Sequence[str]) -> list[JSONObject]:
        """Run the commands of the last answer in the sandbox."""
        sandbox = await self.order.sandbox()
        done: list[JSONObject] = []
        for call_id in call_ids:
            arguments = json.loads(str(self._calls[call_id]["arguments"]))
            result = await sandbox.run(Command(("bash", "-c", arguments["cmd"])))
            text = result.output.decode()
            done.append({"type": "function_call_output", "call_id": call_id, "output": text})
        return done

    async def close(self) -> None:
        """End it."""
        self.closed = True
