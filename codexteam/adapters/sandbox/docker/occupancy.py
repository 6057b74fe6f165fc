"""What is at work on one engine, by the labels of its containers."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.adapters.sandbox.docker.client import EngineClient
from codexteam.adapters.sandbox.docker.hardening import OURS, OWNER, RUN, What, what_of
from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable

#: What takes a slot.
_TAKES_A_SLOT = frozenset({What.SANDBOX, What.SETUP})


@dataclass(frozen=True, slots=True)
class Occupant:
    """A sandbox that runs on an engine."""

    owner: str
    """The state folder of its repository."""
    run_id: str
    agent: str
    """As messages name it: `implementer T1.1`."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine that answered."""

    version: str
    runtimes: tuple[str, ...]
    occupants: tuple[Occupant, ...]


async def look_at_engine(client: EngineClient) -> EngineFacts:
    """Ask an engine what it is and what runs on it.

    Raises:
        SandboxUnavailable: it does not answer, or runs no Linux containers.
        DockerException: it stopped answering meanwhile.
    """
    docker = await client.connect()
    facts = await client.call(docker.info)
    if facts.get("OSType", "linux") != "linux":
        raise SandboxUnavailable(
            f"{client.settings.name} runs {clean_line(str(facts['OSType']))} containers",
            hint="switch it to Linux containers",
        )
    found = await client.call(docker.containers.list, ignore_removed=True, filters={"label": f"{OURS}=1"})
    marks = [container.labels for container in found]
    return EngineFacts(
        clean_line(str(facts.get("ServerVersion", ""))),
        tuple(sorted(clean_line(name) for name in facts.get("Runtimes") or {} if "." not in name)),
        tuple(sorted(map(_occupant, filter(_takes_a_slot, marks)), key=lambda one: (one.owner, one.run_id, one.agent))),
    )


def _takes_a_slot(marks: Mapping[str, str]) -> bool:
    return what_of(marks) in _TAKES_A_SLOT


def _occupant(marks: Mapping[str, str]) -> Occupant:
    return Occupant(clean_line(marks.get(OWNER, "")), clean_line(marks.get(RUN, "")), clean_line(_agent(marks)))


def _agent(marks: Mapping[str, str]) -> str:
    if what_of(marks) == What.SETUP:
        return "set-up"
    try:
        purpose, attempt = Purpose(marks["codexteam.purpose"]), int(marks["codexteam.attempt"])
        return str(AgentKey(RunId(""), marks["codexteam.role"], purpose, marks["codexteam.task"], attempt))
    except (KeyError, ValueError):  # a newer version's
        return marks.get("codexteam.role", "unknown")
