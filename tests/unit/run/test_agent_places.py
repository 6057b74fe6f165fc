"""How many agents are at work, and who of those that wait is next."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from codexteam.config.settings import ModelSettings
from codexteam.core.budget_queue import Standing
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.run.agent_places import AgentPlaces

RUN = RunId("20261121-0231-7f3a")
MODEL = ModelSettings(model="m", provider_id="p")


def agent(number: int) -> AgentKey:
    return AgentKey(RUN, "implementer", Purpose.IMPLEMENT, f"T{number}", 1)


@dataclass
class Crowd:
    """Agents that work until they are told to end."""

    places: AgentPlaces
    order: list[int] = field(default_factory=list)
    said: dict[int, list[str]] = field(default_factory=dict)
    ends: dict[int, asyncio.Event] = field(default_factory=dict)
    tasks: dict[int, "asyncio.Task[None]"] = field(default_factory=dict)

    async def begin(self, number: int, rank: int = 0) -> None:
        self.ends[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._work(number, Standing((rank,))))
        await asyncio.sleep(0)

    async def _work(self, number: int, standing: Standing) -> None:
        async with self.places.place(agent(number), standing, MODEL, self.said.setdefault(number, []).append):
            self.order.append(number)
            await self.ends[number].wait()

    async def end(self, number: int) -> None:
        self.ends[number].set()
        await self.tasks.pop(number)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    @property
    def at_work(self) -> list[int]:
        return [number for number in self.order if number in self.tasks]


async def test_a_person_s_priority_decides_who_gets_the_next_place() -> None:
    crowd = Crowd(AgentPlaces(1))
    for number in (1, 2, 3):
        await crowd.begin(number, rank=number)
    crowd.places.rank("T3", (0,))
    await crowd.end(1)
    assert crowd.order == [1, 3]
    assert crowd.said[3] == ["waits for one of 1 agents to end (max_threads)", ""]
    await crowd.stop()


async def test_the_width_follows_the_hosts_and_the_service() -> None:
    room: list[int | None] = [3]
    crowding = [""]
    crowd = Crowd(AgentPlaces(9, lambda: room[0], lambda _: crowding[0]))
    for number in (1, 2, 3):
        await crowd.begin(number)
    assert (crowd.order, crowd.said[3]) == (
        [1, 2],
        ["waits for a sandbox: the hosts that are up have 3 slots, one of them for checks"],
    )

    room[0], crowding[0] = None, "the model service takes 1 call at once"
    crowd.places.look_again()
    await asyncio.sleep(0)
    assert crowd.order == [1, 2]
    crowding[0] = ""
    crowd.places.look_again()
    await asyncio.sleep(0)
    assert crowd.order == [1, 2, 3]
    await crowd.stop()


async def test_one_agent_always_works() -> None:
    crowd = Crowd(AgentPlaces(4, lambda: 0, lambda _: "nothing is taken"))
    for number in (1, 2):
        await crowd.begin(number)
    assert crowd.order == [1]
    await crowd.end(1)
    assert crowd.order == [1, 2]
    await crowd.stop()


async def test_who_is_cancelled_leaves_the_place_to_the_next() -> None:
    crowd = Crowd(AgentPlaces(1))
    for number in (1, 2, 3):
        await crowd.begin(number)
    crowd.ends[1].set()  # the second is let in, and stopped before it has begun
    crowd.tasks[2].cancel()
    await asyncio.gather(crowd.tasks[2], return_exceptions=True)
    await crowd.tasks.pop(1)
    del crowd.tasks[2]
    await asyncio.sleep(0)
    assert crowd.at_work == [3]
    await crowd.stop()


_STEPS = st.lists(st.tuples(st.sampled_from(["begin", "end", "room", "rank", "stop"]), st.integers(0, 6)), max_size=40)


@given(_STEPS)
async def test_no_place_is_free_that_somebody_waits_for_and_none_too_many(steps: list[tuple[str, int]]) -> None:
    room = [3]
    crowd = Crowd(AgentPlaces(5, lambda: room[0]))
    for number, (what, value) in enumerate(steps):
        before = crowd.at_work
        if what == "begin":
            await crowd.begin(number, rank=value)
        elif what == "end" and before:
            await crowd.end(before[value % len(before)])
        elif what == "stop" and crowd.tasks:
            task = crowd.tasks.pop(list(crowd.tasks)[value % len(crowd.tasks)])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif what == "rank":
            crowd.places.rank(f"T{value}", (value,))
        else:
            room[0] = value
            crowd.places.look_again()
        await asyncio.sleep(0)
        width = max(1, min(5, room[0] - 1))
        grown = len(crowd.at_work) > len(before)
        assert len(crowd.at_work) <= width or not grown
        assert len(crowd.at_work) >= min(width, len(crowd.tasks))
    await crowd.stop()
    assert not crowd.at_work or all(task.done() for task in crowd.tasks.values())
