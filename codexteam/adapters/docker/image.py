"""An image that is on an engine, and what of its configuration counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codexteam.adapters.docker.hardening import split_environment

#: What an image declares as a volume would be room on the engine's disk, without a limit.
_DECLARED_VOLUME = "rw,nosuid,nodev,noexec,size=64k,nr_inodes=16"
_OURS = ("/work", "/tmp", "/run/codexteam")  # noqa: S108


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on an engine. Its entry point, user, health check and labels never count."""

    reference: str
    """What people call it."""
    id: str
    environment: Mapping[str, str | None]
    """What containers are created with; None takes a variable of the image away."""
    commands: Mapping[str, str]
    """What commands see."""
    volumes: tuple[str, ...] = ()
    """What it declares as volumes."""

    @classmethod
    def of(cls, reference: str, attrs: Mapping[str, Any]) -> "Image":
        """Read what the engine says of an image."""
        config = attrs.get("Config") or {}
        environment, commands = split_environment(config.get("Env") or [])
        return cls(reference, str(attrs["Id"]), environment, commands, tuple(config.get("Volumes") or ()))

    def cover_volumes(self, options: dict[str, Any]) -> None:
        """Have a container's options put next to nothing where the image declares volumes."""
        covers = {path: _DECLARED_VOLUME for path in self.volumes if path.rstrip("/") not in _OURS}
        options["tmpfs"] = {**covers, **options["tmpfs"]}
