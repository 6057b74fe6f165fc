"""What the tools of one agent share: its sandbox, its limits, and where whole outputs go."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.agent.tools.clip import clip, tokens_of
from codexteam.config.settings import SandboxMode
from codexteam.core.redaction import Redactor
from codexteam.ports.clock import Clock
from codexteam.ports.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """How much a tool call may take."""

    output_tokens: int = 10_000
    """The most that a model gets to see of one output (`tool_output_token_limit`)."""
    output_bytes: int = 16 << 20
    """What one command may print before it is killed."""
    command_seconds: float = 600.0
    image_bytes: int = 8 << 20


@dataclass(slots=True)
class ToolContext:
    """One agent's surroundings, as its tools see them."""

    sandbox: "asyncio.Future[Sandbox]"
    """It may still be starting; the first tool call waits for it."""
    mode: SandboxMode
    folder: Path
    """The attempt's folder on the host, for whole outputs; nothing in a sandbox reaches it."""
    clock: Clock
    limits: ToolLimits = field(default_factory=ToolLimits)
    redactor: Redactor = field(default_factory=Redactor)
    """Takes secrets out of what the model, the store and the files get to see."""
    wrote: bool = False
    """Whether a call may have written since this was last set to False."""

    @property
    def read_only(self) -> bool:
        """Whether no call can change the workspace."""
        return self.mode is SandboxMode.READ_ONLY

    async def enter(self) -> Sandbox:
        """Return the sandbox, once it is there.

        Raises:
            SandboxUnavailable: it could not be started.
        """
        # several calls may wait, and one that is cancelled must not cancel the start for all
        return await asyncio.shield(self.sandbox)

    async def shorten(self, text: str, limit_tokens: int, *, name: str) -> tuple[str, int]:
        """Clip a text without secrets; what was clipped is kept whole as the file `name`. Gives also its size in tokens."""
        clipped = clip(text, min(limit_tokens, self.limits.output_tokens))
        if clipped.left_out_bytes:
            await asyncio.to_thread(self._keep, name, text)
        return clipped.text, tokens_of(len(text.encode("utf-8", errors="replace")))

    def _keep(self, name: str, text: str) -> None:
        outputs = self.folder / "outputs"
        outputs.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(text, encoding="utf-8", errors="replace")
