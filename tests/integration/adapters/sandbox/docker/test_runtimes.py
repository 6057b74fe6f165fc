"""What runs the containers: the runtime that is asked for, or nothing."""

import os
from pathlib import Path

import pytest

from codexteam.config.settings import SandboxSettings
from codexteam.errors import ConfigError, SandboxUnavailable
from codexteam.ports.sandbox import Command
from tests.integration.adapters.sandbox.docker.support import rig
from tests.support_engine import door

pytestmark = pytest.mark.docker

#: The engine's own, by the name of its program: every engine has it, and lists it or not.
NAMED = "io.containerd.runc.v2"


@pytest.mark.parametrize("setting", ["runtime", "require_runtime"])
async def test_a_sandbox_has_the_runtime_that_is_asked_for_and_says_so(setting: str, tmp_path: Path) -> None:
    async with rig(tmp_path, **{setting: NAMED}) as found:
        sandbox = await found.start()
        assert sandbox.facts.runtime == NAMED
        assert (await sandbox.run(Command(("true",)))).ok


async def test_without_a_wish_it_is_the_engines_own(tmp_path: Path) -> None:
    async with rig(tmp_path) as found:
        assert (await found.start()).facts.runtime != ""


async def test_a_runtime_that_the_engine_lacks_is_one_clear_error(tmp_path: Path) -> None:
    async with rig(tmp_path, require_runtime="runsc-of-nobody") as found:
        report = await found.engine.check()
        assert not report.usable
        with pytest.raises(SandboxUnavailable, match="has no runtime 'runsc-of-nobody'; it has .*runc") as raised:
            await found.engine.prepare(found.base)
        assert "daemon.json" in raised.value.hint


async def test_an_engine_that_ignores_the_runtime_starts_nothing(tmp_path: Path) -> None:
    wish = b'"Runtime": "%s"' % NAMED.encode()
    with door() as way:
        way.misread = wish, b'"Runtime": "runc"'.ljust(len(wish))
        async with rig(tmp_path, require_runtime=NAMED, environment={**os.environ, "DOCKER_HOST": way.url}) as found:
            with pytest.raises(SandboxUnavailable, match=f"would run under runc, not under {NAMED}"):
                await found.start()


async def test_no_image_is_built_where_a_runtime_is_required(tmp_path: Path) -> None:
    files: dict[str, bytes] = {"Dockerfile": b"FROM scratch\nRUN touch /built\n"}
    async with rig(tmp_path, files=files, image=None, dockerfile="Dockerfile", require_runtime=NAMED) as found:
        with pytest.raises(ConfigError, match="Dockerfile: the engine builds images outside of") as raised:
            await found.engine.prepare(found.base)
        assert "set [codexteam.sandbox] image" in raised.value.hint


def test_bubblewrap_takes_the_place_of_no_runtime_that_is_required() -> None:
    assert SandboxSettings().kinds == ("docker", "bubblewrap")
    assert SandboxSettings(require_runtime=NAMED).kinds == ("docker",)
