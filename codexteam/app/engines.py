"""Which sandbox engine a run uses: what the settings say, else docker where one answers, else bubblewrap."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.config.settings import SandboxSettings
from codexteam.core.json_types import JSONObject
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import EngineReport, SandboxEngine

if TYPE_CHECKING:
    from codexteam.adapters.docker.images import RepositoryFiles

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


async def choose_engine(
    settings: SandboxSettings,
    *,
    state_dir: Path,
    environment: Mapping[str, str],
    files: "RepositoryFiles | None" = None,
    trusted: bool = False,
    on_denied: Callable[[JSONObject], None] | None = None,
) -> Chosen:
    """Give an engine that really started something. Owned by the caller, who closes it.

    `files` are the repository's at the base commit, for the choice of an image; a `trusted` repository's own
    devcontainer may be used. `on_denied` gets every connection that a sandbox was refused.

    Raises:
        SandboxUnavailable: none works; the bare host is never used in its place.
    """
    problems: list[str] = []
    for kind in ("docker", "bubblewrap") if settings.kind == "auto" else (settings.kind,):
        engine = _make(kind, settings, state_dir, environment, files, trusted=trusted, on_denied=on_denied)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.close)
            report = await engine.check()
            if report.usable:
                stack.pop_all()  # the caller's now
                why = "configured" if settings.kind != "auto" else "; ".join(problems) or "a Docker engine answers"
                return Chosen(engine, report, why)
        problems.append(f"{kind}: {report.problem}")
    raise SandboxUnavailable("no sandbox can be started: " + "; ".join(problems), hint=_HINT)


#: Hosts that are told of by name.
_MOST_TOLD = 100


def told_once(tell: Callable[[str, JSONObject], None]) -> Callable[[JSONObject], None]:
    """Give what tells of each host once that sandboxes do not reach it; agents may ask for it hundreds of times.

    Of so many hosts, and no more: an agent can make up names for ever.
    """
    told: set[tuple[object, object]] = set()

    def denied(denial: JSONObject) -> None:
        where = (denial.get("host"), denial.get("port"))
        if where in told or len(told) > _MOST_TOLD:
            return
        told.add(where)
        if len(told) <= _MOST_TOLD:
            tell("network.denied", denial)
        else:
            tell("notice", {"text": f"sandboxes asked for more than {_MOST_TOLD} hosts that they do not reach"})

    return denied


def possible_engines(
    settings: SandboxSettings, *, state_dir: Path, environment: Mapping[str, str]
) -> tuple[SandboxEngine, ...]:
    """Give every engine that a run here may have used, unchecked, for clearing up. Owned by the caller."""
    kinds = ("docker", "bubblewrap") if settings.kind == "auto" else (settings.kind,)
    return tuple(_make(kind, settings, state_dir, environment, None, trusted=False) for kind in kinds)


def _make(
    kind: str,
    settings: SandboxSettings,
    state_dir: Path,
    environment: Mapping[str, str],
    files: "RepositoryFiles | None",
    *,
    trusted: bool,
    on_denied: Callable[[JSONObject], None] | None = None,
) -> SandboxEngine:
    if kind == "docker":
        from codexteam.adapters.docker.engine import DockerEngine

        return DockerEngine(
            settings,
            environment=environment,
            owner=str(state_dir),
            files=files,
            trusted=trusted,
            on_denied=on_denied,
        )
    from codexteam.adapters.bubblewrap.engine import BubblewrapEngine

    secrets = {host: environment[name] for host, name in settings.proxy_secrets.items() if name in environment}
    return BubblewrapEngine(state_dir / "bubblewrap", proxy_secrets=secrets, on_denied=on_denied)
