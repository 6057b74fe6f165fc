"""What a request is made of, in an order that lets a service reuse what it has read before.

First what all agents of a role share in a run (instructions, tools), then what all tasks of a batch share (facts on
the repository), the task last. The same values give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codexteam.agent.transcript import as_bytes, user_item
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.ports.sandbox import WORKSPACE


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an agent starts from."""

    instructions: str
    """The base text and the role's. Never anything that came from a repository, a command or another agent."""
    facts: tuple[str, ...]
    """AGENTS.md, the list of skills, the environment: a message each, equal for all tasks of a batch."""
    task: str

    def items(self) -> tuple[JSONObject, ...]:
        """Return the first items of the transcript."""
        return tuple(user_item(text) for text in (*self.facts, self.task) if text)


def cache_key(agent: AgentKey) -> str:
    """Return the `prompt_cache_key`: the same for all agents of a role in a run."""
    return f"{agent.run_id}-{agent.role}"


def environment_fact(mode: SandboxMode, network: NetworkPolicy) -> str:
    """Say where commands run, in Codex's form."""
    reach = {
        NetworkKind.NONE: "restricted",
        NetworkKind.OPEN: "enabled",
        NetworkKind.ALLOWLIST: f"restricted to {', '.join(network.hosts) or 'nothing'}",
    }[network.kind]
    lines = [
        f"  <cwd>{WORKSPACE}</cwd>",
        "  <shell>bash</shell>",
        f"  <sandbox_mode>{mode.value}</sandbox_mode>",
        f"  <network_access>{reach}</network_access>",
    ]
    return "\n".join(["<environment_context>", *lines, "</environment_context>"])


def facts_of(*texts: str | None) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


def fixed_bytes(instructions: str, tools: Sequence[JSONObject]) -> int:
    """Return how many bytes of every request are the same for all agents of a role, whatever the repository."""
    return len(as_bytes(instructions)) + len(as_bytes(list(tools)))
