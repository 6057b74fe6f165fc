"""The environments of a cluster: none. What its image has is what commands find."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable
from codexteam.ports.environments import Environment, SetupOrder, SetupSandbox
from codexteam.ports.sandbox import BaseSource

_HINT = "put what the tests need into the SandboxTemplate's image; `codexteam env` on a machine with Docker shows what that is"


class NoEnvironments:
    """An `Environments` that keeps nothing: a pod's file system is its image's, and goes with the pod."""

    uses_images = False
    starts_services = False

    async def identity(self, base: BaseSource) -> str:  # noqa: ARG002 - of every base the same
        """Return that it is the template's image."""
        return "kubernetes"

    async def find(self, key: str) -> Environment | None:  # noqa: ARG002 - there is none
        """Return None."""
        return None

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[None]:  # noqa: ARG002 - nobody builds
        """Hold nothing."""
        yield

    async def set_up(self, order: SetupOrder) -> SetupSandbox:
        """Refuse."""
        raise _refusal(order.key)

    async def list(self) -> Sequence[tuple[Environment, int]]:
        """Return nothing."""
        return ()

    async def remove(self, keys: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - there are none
        """Remove nothing."""
        return ()

    async def pack(self, key: str, destination: Path) -> None:  # noqa: ARG002 - as the port says
        """Refuse."""
        raise _refusal(key)

    async def unpack(self, key: str, source: Path) -> Environment:  # noqa: ARG002 - as the port says
        """Refuse."""
        raise _refusal(key)


def _refusal(key: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"there is no environment {clean_line(key)}: on Kubernetes none is built, sandboxes are as their image is",
        hint=_HINT,
    )
