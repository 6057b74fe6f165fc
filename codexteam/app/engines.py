"""Which sandbox engine a run uses: what the settings say, else docker where one answers, else bubblewrap."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.config.settings import SandboxSettings
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import EngineReport, SandboxEngine

_HINT = (
    "install a Docker engine (Debian: apt-get install docker.io) and start it, or bubblewrap "
    "(apt-get install bubblewrap, or pip install 'codexteam[local]'); `codexteam doctor` says what is missing"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine of a run, checked."""

    engine: SandboxEngine
    report: EngineReport
    why: str


async def choose_engine(settings: SandboxSettings, *, state_dir: Path, environment: Mapping[str, str]) -> Chosen:
    """Give an engine that really started something. Owned by the caller, who closes it.

    Raises:
        SandboxUnavailable: none works; the bare host is never used in its place.
    """
    problems: list[str] = []
    for kind in ("docker", "bubblewrap") if settings.kind == "auto" else (settings.kind,):
        engine = _make(kind, settings, state_dir, environment)
        report = await engine.check()
        if report.usable:
            why = "configured" if settings.kind != "auto" else "; ".join(problems) or "a Docker engine answers"
            return Chosen(engine, report, why)
        problems.append(f"{kind}: {report.problem}")
        await engine.close()
    raise SandboxUnavailable("no sandbox can be started: " + "; ".join(problems), hint=_HINT)


def _make(kind: str, settings: SandboxSettings, state_dir: Path, environment: Mapping[str, str]) -> SandboxEngine:
    if kind == "docker":
        from codexteam.adapters.docker.engine import DockerEngine

        return DockerEngine(settings, environment)
    from codexteam.adapters.bubblewrap.engine import BubblewrapEngine

    return BubblewrapEngine(state_dir / "bubblewrap")
