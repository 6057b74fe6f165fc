"""Whether a sandbox can be started: every engine that the configuration would use is really asked."""

import asyncio
import tempfile
from collections.abc import Awaitable, Mapping
from pathlib import Path

from codexteam.app.checks import Check, Status
from codexteam.config.settings import EngineSettings, SandboxSettings
from codexteam.errors import SandboxUnavailable

_KINDS = ("docker", "bubblewrap")
_DOCKER_ADVICE = "install and start Docker, or name an engine that runs with DOCKER_HOST or `docker context use`"
#: An engine far away that drops packets would be waited for much longer.
_SECONDS = 20.0


def sandbox_checks(settings: SandboxSettings, environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Look at both kinds, or at the one that is asked for; where one works, the other's absence is no failure."""
    return asyncio.run(_look(settings, environment))


async def _look(settings: SandboxSettings, environment: Mapping[str, str]) -> tuple[Check, ...]:
    wanted = _KINDS if settings.kind == "auto" else (settings.kind,)
    looks: list[Awaitable[Check]] = []
    if "docker" in wanted:
        engines = settings.engines or (EngineSettings(name="docker"),)
        looks.extend(_docker(engine, environment) for engine in engines)
    if "bubblewrap" in wanted:
        looks.append(_bubblewrap())
    found = await asyncio.gather(*looks)
    one_works = any(check.status is not Status.FAIL for check in found)
    return tuple(_softer(check) if one_works else check for check in found)


def _softer(check: Check) -> Check:
    if check.status is not Status.FAIL:
        return check
    return Check(check.name, Status.WARN, check.found, check.advice)


async def _docker(engine: EngineSettings, environment: Mapping[str, str]) -> Check:
    from codexteam.adapters.docker.client import ENGINE_ERRORS, EngineClient, said_by

    name = "docker" if engine.name == "docker" else f"docker engine {engine.name}"
    client = EngineClient(engine, environment)
    try:
        async with asyncio.timeout(_SECONDS):
            connected = await client.connect()
            said = await client.call(connected.version)
    except SandboxUnavailable as error:
        return Check(name, Status.FAIL, str(error), _DOCKER_ADVICE)
    except TimeoutError:
        return Check(name, Status.FAIL, f"no answer within {_SECONDS:.0f} seconds", _DOCKER_ADVICE)
    except ENGINE_ERRORS as error:
        return Check(name, Status.FAIL, said_by(error), _DOCKER_ADVICE)
    finally:
        await client.close()
    return Check(name, Status.OK, f"engine {said.get('Version', 'of unknown version')}")


async def _bubblewrap() -> Check:
    from codexteam.adapters.bubblewrap.engine import BubblewrapEngine

    with tempfile.TemporaryDirectory(prefix="codexteam-doctor-") as folder:
        engine = BubblewrapEngine(Path(folder))
        try:
            report = await engine.check()
        finally:
            await engine.close()
    if not report.usable:
        return Check("bubblewrap", Status.FAIL, report.problem)
    if report.unlimited:
        limits = f"{report.version}; it cannot limit here: {', '.join(report.unlimited)}"
        return Check("bubblewrap", Status.OK, limits)
    return Check("bubblewrap", Status.OK, report.version)
