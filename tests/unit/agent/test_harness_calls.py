"""Who does the calls of an answer where a harness gave it: the harness, or our own tools for what it does not know."""

from collections.abc import AsyncIterator, Sequence

from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.harness_calls import BROKEN_OFF, HarnessCalls
from codexteam.agent.tools.tool import ToolOutput
from codexteam.agent.tools.toolbox import OwnCalls, Toolbox, ToolCall
from codexteam.core.ids import JSONObject
from codexteam.ports.model import ModelEvent, ModelRequest
from tests.fakes.fake_clock import FakeClock

_CALL = ToolCall("call_1", "exec_command", '{"cmd": "true"}', "function_call")
_ITEM: JSONObject = {"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "call_1"}


class OwnExec:
    """Our tool, which says that it was used."""

    name = "exec_command"
    only_reads = False

    @property
    def definition(self) -> JSONObject:
        """Its entry in a request."""
        return {"type": "function", "name": self.name}

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Do nothing."""
        return ToolOutput(f"ours: {call_id} {arguments}")


class OneAgent:
    """A harness's agent that knows the outputs of some calls."""

    def __init__(self, *known: str) -> None:
        self._known = known

    def stream(self, _request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Nobody asks it."""
        raise NotImplementedError

    async def outputs(self, call_ids: Sequence[str]) -> list[JSONObject]:
        """Give those that it knows."""
        return [
            {"type": "function_call_output", "call_id": call_id, "output": "theirs"}
            for call_id in call_ids
            if call_id in self._known
        ]

    async def close(self) -> None:
        """Nothing to end."""


def calls_of(agent: OneAgent) -> HarnessCalls:
    told: list[AgentEvent] = []
    own = Toolbox({"exec_command": OwnExec()}, FakeClock(), told.append)
    return HarnessCalls(agent, OwnCalls(own), FakeClock(), told.append, None)


async def test_the_harness_does_what_its_own_answer_asks_for() -> None:
    calls = calls_of(OneAgent("call_1"))
    calls.item_done(_ITEM)
    assert [item["output"] for item in await calls.outputs([_CALL])] == ["theirs"]


async def test_our_tools_do_what_an_answer_of_an_earlier_session_asks_for() -> None:
    calls = calls_of(OneAgent())
    assert [item["output"] for item in await calls.outputs([_CALL])] == [f"ours: call_1 {_CALL.arguments}"]
    await calls.close()


async def test_a_call_that_the_harness_broke_off_says_so() -> None:
    calls = calls_of(OneAgent())
    calls.item_done(_ITEM)
    assert [item["output"] for item in await calls.outputs([_CALL])] == [BROKEN_OFF]
