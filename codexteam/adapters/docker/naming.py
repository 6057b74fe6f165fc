"""Names and labels: computed, so that whatever is left over is found again and nothing else is touched."""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum

from codexteam.core.ids import AgentKey

#: Every container and volume of ours has this label.
OURS = "codexteam"
RUN = "codexteam.run"
_WHAT = "codexteam.what"
_OWNER = "codexteam.owner"


class What(StrEnum):
    """What a container or volume is for."""

    SANDBOX = "sandbox"
    SLOTS = "slots"
    """Holds the writable layers of sandboxes."""
    BASE = "base"
    """A read-only checkout, shared by runs."""
    HELPER = "helper"
    """Makes a base, an image, or looks at one; ends by itself."""


def sandbox_name(agent: AgentKey) -> str:
    """Give the name of an agent's container, the same each time and a different one for every agent."""
    fields = (agent.run_id, agent.role, agent.purpose.value, agent.task_id or "run", str(agent.attempt))
    return _name("-".join(fields), exact="\0".join(fields))


def base_name(key: str, owner: str) -> str:
    """Give the name of a base's volume."""
    return f"{OURS}-base-{digest(owner, key)}"


def slots_name(run_id: str, ordinal: int, owner: str, engine: str) -> str:
    """Give the name of the container that holds writable layers."""
    return f"{OURS}-slots-{digest(run_id, str(ordinal), owner, engine)}"


def digest(*parts: str) -> str:
    """Give 16 hexadecimal digits that stand for these texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def labels(what: What, owner: str, *, run_id: str = "", agent: AgentKey | None = None) -> Mapping[str, str]:
    """Give the labels of a container or volume."""
    found = {OURS: "1", _WHAT: what.value, _OWNER: owner}
    if agent is not None:
        run_id = agent.run_id
        found |= {
            "codexteam.role": agent.role,
            "codexteam.purpose": agent.purpose.value,
            "codexteam.task": agent.task_id,
            "codexteam.attempt": str(agent.attempt),
        }
    if run_id:
        found[RUN] = run_id
    return found


def what_of(found: Mapping[str, str]) -> str:
    """Give what a labelled thing is for."""
    return found.get(_WHAT, "")


def _name(text: str, *, exact: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:180]
    # two roles may be the same but for characters that a container's name cannot have
    return f"{OURS}-{plain}" if plain == text else f"{OURS}-{plain}-{digest(exact)}"
