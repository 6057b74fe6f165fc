"""What agents were asked first, kept for people who read their transcripts: each text once per run."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from codexteam.agent.prefix import Prompt
from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import AgentKey, RunId
from codexteam.ports.store import Store


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class PromptParts:
    """A prompt, by the digests of its texts."""

    instructions: str
    facts: tuple[str, ...]
    task: str


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class PromptText:
    """One text of a prompt; agents of a role, and of a run, share most of them."""

    text: str


@dataclass(slots=True)
class PromptKeeper:
    """Keeps the prompts of a run's agents. Nobody waits for the disk: they decide nothing."""

    store: Store
    redact: Callable[[str], str]
    _kept: set[str] = field(default_factory=set)

    def keep(self, agent: AgentKey, prompt: Prompt) -> None:
        """Keep what an agent is asked first, without secrets; a later prompt of the same agent replaces it."""
        parts = PromptParts(
            self._text(agent.run_id, prompt.instructions),
            tuple(self._text(agent.run_id, fact) for fact in prompt.facts if fact),
            self._text(agent.run_id, prompt.task),
        )
        self.store.put_soon(*_place(agent), encode_object(parts))

    def _text(self, run_id: RunId, text: str) -> str:
        shown = self.redact(text)
        digest = hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()
        if digest not in self._kept:
            self._kept.add(digest)
            self.store.put_soon(_texts(run_id), digest, encode_object(PromptText(shown)))
        return digest


async def kept_prompt(store: Store, agent: AgentKey) -> Prompt | None:
    """Return what an agent was asked first; None in runs of versions that did not keep it."""
    value = await store.get(*_place(agent))
    if value is None:
        return None
    parts = decode(PromptParts, value, f"the prompt of {agent}")
    return Prompt(
        await _text_of(store, agent.run_id, parts.instructions),
        tuple([await _text_of(store, agent.run_id, digest) for digest in parts.facts]),
        await _text_of(store, agent.run_id, parts.task),
    )


async def _text_of(store: Store, run_id: RunId, digest: str) -> str:
    value = await store.get(_texts(run_id), digest)
    return "" if value is None else decode(PromptText, value, f"the prompt text {digest}").text


def _place(agent: AgentKey) -> tuple[str, str]:
    return f"{agent.run_id}/prompts", f"{agent.role}/{agent.purpose.value}/{agent.task_id}/{agent.attempt}"


def _texts(run_id: RunId) -> str:
    return f"{run_id}/prompt-texts"
