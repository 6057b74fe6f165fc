"""Prompts are kept for people: without secrets, and what agents share only once."""

from codexteam.agent.prefix import Prompt
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.run.kept_prompts import PromptKeeper, kept_prompt
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261118-1106-aaaa")


def agent(number: int) -> AgentKey:
    return AgentKey(RUN, "implementer", Purpose.IMPLEMENT, f"T{number}", 1)


async def test_a_prompt_is_read_back_without_secrets() -> None:
    store = MemoryStore()
    keeper = PromptKeeper(store, lambda text: text.replace("hunter2", "[redacted]"))

    keeper.keep(agent(1), Prompt("be good", ("facts", ""), "the password is hunter2"))

    assert await kept_prompt(store, agent(1)) == Prompt("be good", ("facts",), "the password is [redacted]")
    assert await kept_prompt(store, agent(2)) is None


async def test_what_agents_share_is_kept_once() -> None:
    store = MemoryStore()
    keeper = PromptKeeper(store, str)

    for number in range(1, 5):
        keeper.keep(agent(number), Prompt("be good", ("facts",), f"do T{number}"))

    assert len(await store.list(f"{RUN}/prompt-texts")) == 2 + 4
