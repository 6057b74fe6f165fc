"""Several engines, one of which goes away: the others carry on. All are this machine's own, some behind a relay."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.machine.drained_hosts import DrainedHosts
from codexteam.config.settings import EngineSettings
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import Command, Sandbox
from tests.integration.adapters.sandbox.docker.support import Rig, rig
from tests.integration.adapters.sandbox.docker.test_far_engines import Relay, relay
from tests.scripted_api.server import kept_port

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("settled")]

#: Nobody listens there.
GONE = EngineSettings("gone", host="tcp://127.0.0.1:9", slots=100)
Cut = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def far_engine() -> AsyncIterator[tuple[Relay, Cut]]:
    """An engine, and what takes it away in the middle of everything."""
    # kept, so that nobody else answers at its port once it is away
    with kept_port() as kept:
        async with contextlib.AsyncExitStack() as stack:
            way = await stack.enter_async_context(relay(port=int(kept.getsockname()[1])))

            async def cut() -> None:
                await stack.aclose()
                for writer in list(way.carried):
                    writer.close()
                await asyncio.sleep(0)

            yield way, cut


async def works(sandbox: Sandbox) -> bool:
    return (await sandbox.run(Command(("cat", "a.txt")))).output == b"one\n"


async def test_a_dying_engine_is_left_out_and_the_next_start_goes_elsewhere(tmp_path: Path) -> None:
    async with far_engine() as (way, cut):
        engines = (EngineSettings("far", host=way.url, slots=9), EngineSettings("near", slots=2))
        async with rig(tmp_path, engines=engines) as found:
            await found.engine.prepare(found.base)
            lost = await found.start()
            assert way.carried, "it is the one with the most room"
            await cut()
            first = await found.start()
            assert await works(first)
            await lost.close()  # its slot comes back, and makes the dead engine no better a choice
            assert await works(await found.start())
            waiting = asyncio.create_task(found.start())
            await asyncio.wait({waiting}, timeout=0.2)
            assert not waiting.done(), "the one that is left is full"
            await first.close()
            assert await works(await waiting)


async def test_nobody_waits_for_a_host_that_drops_what_it_is_sent(tmp_path: Path) -> None:
    async with relay() as way:
        engines = (EngineSettings("far", host=way.url, slots=9), EngineSettings("near", slots=2))
        async with rig(tmp_path, engines=engines) as found:
            await found.engine.prepare(found.base)
            lost = await found.start()
            assert way.carried, "it is the one with the most room"
            way.carries.clear()
            found.engine._pool.mark_down(found.engine._nodes[0], "no answer")
            async with asyncio.timeout(20):
                await lost.close()
                assert await works(await found.start())
            way.carries.set()
            left = await found.engine.sweep(found.run_id, keep=[found.agent(2)])
            assert lost.facts.name in left, "what was left there is removed once it answers"


async def test_an_engine_down_at_the_check_is_used_once_it_answers(tmp_path: Path) -> None:
    async with far_engine() as (way, cut):
        engines = (EngineSettings("far", host=way.url, slots=9), EngineSettings("near", slots=1))
        await cut()
        async with rig(tmp_path, engines=engines) as found:
            # as a later session does: a check, and no preparing
            assert "far" in (await found.engine.check()).problem
            assert await works(await found.start())
            async with relay(port=int(way.url.rpartition(":")[2])) as again:
                assert not (await found.engine.check()).problem
                assert await works(await found.start())
                assert again.carried
                for sandbox in found.started:
                    await sandbox.close()


async def test_the_start_itself_finds_an_engine_down_that_nobody_checked(tmp_path: Path) -> None:
    async with rig(tmp_path, engines=(GONE, EngineSettings("near", slots=1))) as found:
        assert await works(await found.start())


async def test_a_host_that_is_drained_meanwhile_gets_no_more_sandboxes(tmp_path: Path) -> None:
    engines = (EngineSettings("one", slots=4, weight=4), EngineSettings("two", slots=1, weight=1))
    async with rig(tmp_path, engines=engines) as found:
        others = DrainedHosts(tmp_path / "state")  # another process
        first = await found.start()
        assert first.facts.host == "one"
        others.drain("one")
        second = await found.start()
        assert second.facts.host == "two"
        assert await works(first), "who is at work there finishes"
        waiting = asyncio.create_task(found.start())
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done(), "the one that is left is full"
        others.undrain("one")
        assert (await waiting).facts.host == "one", "nobody has to tell it"


async def test_no_run_begins_with_all_hosts_drained(tmp_path: Path) -> None:
    async with rig(tmp_path, engines=(EngineSettings("one", draining=True),)) as found:
        report = await found.engine.check()
        assert not report.usable
        assert "drained: one; `codexteam cluster undrain NAME`" in report.problem


async def test_with_no_engine_left_the_first_one_says_why(tmp_path: Path) -> None:
    async with rig(tmp_path) as ours:
        for engines in ((GONE,), (GONE, replace(GONE, name="also", slots=1))):
            found = Rig(tmp_path, replace(ours.settings, engines=engines), os.environ)
            for _ in range(2):
                with pytest.raises(SandboxUnavailable, match=r"no Docker engine answers \(gone\)") as raised:
                    await found.start()
                assert raised.value.hint
            await found.engine.close()


async def test_the_only_engine_that_dies_in_the_middle_is_said_to_be_silent(tmp_path: Path) -> None:
    async with rig(tmp_path) as ours, far_engine() as (way, cut):
        found = Rig(tmp_path, replace(ours.settings, engines=(EngineSettings("far", host=way.url),)), os.environ)
        await found.engine.prepare(found.base)
        await cut()
        with pytest.raises(SandboxUnavailable, match=r"does not answer \(far\)|did not start on far") as raised:
            await found.start()
        assert raised.value.hint
        await found.engine.close()


async def test_an_engine_that_answers_but_starts_nothing_is_not_called_dead(tmp_path: Path) -> None:
    engines = (EngineSettings("one", slots=2), EngineSettings("two", slots=1))
    async with rig(tmp_path, image="127.0.0.1:9/no/such:image", engines=engines) as found:
        for _ in range(2):
            with pytest.raises(SandboxUnavailable, match="is not on one and cannot be pulled"):
                await found.start()
