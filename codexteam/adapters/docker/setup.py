"""Runs a repository's setup script once, with network, and keeps the result as an image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from docker.types import LogConfig, Mount

from codexteam.adapters.docker.bases import Base
from codexteam.adapters.docker.client import ENGINE_ERRORS, EngineClient, clearing_up, said_by
from codexteam.adapters.docker.containers import BASE, TREE, StartFailedError, create, remove, server_command, start
from codexteam.adapters.docker.image import Image
from codexteam.adapters.docker.naming import What, digest, labels
from codexteam.adapters.sandbox_channel import Channel
from codexteam.adapters.sandbox_channel_protocol import ChannelClosedError
from codexteam.core.text import clean_line
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import Command

_SECONDS = 3600.0
_SECRETS = "/run/secrets"
_WORK = "/tmp/setup"  # noqa: S108 - the container's own, and not kept


@dataclass(frozen=True, slots=True)
class Setup:
    """One run of the script, as root, over a copy of the base.

    The copy and the secrets (files under /run/secrets) lie in memory file systems, which an image does not keep.
    """

    client: EngineClient
    owner: str
    image: Image
    base: Base
    script: str
    tag: str
    secrets: Mapping[str, str]

    async def run(self, on_progress: Callable[[str], None] | None) -> Mapping[str, Any]:
        """Run it; give what the engine says of the image that came of it.

        Raises:
            SandboxUnavailable: it failed; says how.
        """
        client = self.client
        docker = await client.connect()
        name = f"codexteam-setup-{digest(self.owner, self.tag)}"
        options: dict[str, Any] = {
            "name": name,
            "labels": dict(labels(What.HELPER, self.owner)),
            "entrypoint": [],
            "user": "0:0",
            "network_mode": "bridge",
            "security_opt": ["no-new-privileges:true"],
            "tmpfs": {_SECRETS: "rw,noexec,nosuid,nodev,size=1m,mode=0700", "/tmp": "rw,exec,nosuid,nodev,mode=1777"},  # noqa: S108
            "log_config": LogConfig(type="none"),
            "healthcheck": {"test": ["NONE"]},
            "stdin_open": True,
            "detach": False,
            "environment": dict(self.image.environment),
            "mounts": [Mount(BASE, self.base.volume, type="volume", read_only=True, no_copy=True)],
        }
        self.image.cover_volumes(options)
        command = server_command("/tmp", base_git=None, private="/tmp/private", output_cap_bytes=1 << 30)  # noqa: S108
        try:
            container = await create(client, self.image.id, command, options)
            live = await start(client, container)
            try:
                await self._run_script(live.channel, on_progress)
            finally:
                await live.channel.close()
            return await client.call(_commit, docker, container, self.tag, self.image.id, self.owner)
        except (StartFailedError, ChannelClosedError, *ENGINE_ERRORS) as error:
            raise SandboxUnavailable(
                f"the setup script {self.script} could not be run: {clean_line(said_by(error))}",
                hint="setup needs the engine's default network (bridge); see `codexteam doctor`",
            ) from error
        finally:
            with clearing_up(name):
                await remove(client, name)

    async def _run_script(self, channel: Channel, on_progress: Callable[[str], None] | None) -> None:
        seen = {**self.image.commands, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", "CI": "1"}
        for key, value in self.secrets.items():
            put = Command(("sh", "-c", f'umask 077; cat > {_SECRETS}/"$0"', key), cwd="/", stdin=value.encode())
            await channel.run(put, seen)
        await channel.run(Command(("cp", "-a", f"{BASE}/{TREE}", _WORK), cwd="/"), seen)

        def said(data: bytes) -> None:
            if on_progress is not None:
                for text in data.decode("utf-8", "replace").splitlines():
                    on_progress(clean_line(text))

        line = Command(("sh", f"./{self.script}"), cwd=_WORK, timeout_seconds=_SECONDS)
        done = await channel.run(line, seen, on_output=said)
        if not done.ok:
            tail = clean_line(done.output[-2000:].decode("utf-8", "replace").strip())
            how = f"exit code {done.exit_code}" if done.exit_code is not None else "it was killed"
            raise SandboxUnavailable(
                f"the setup script {self.script} failed ({how}): {tail}",
                hint="try it in a container of the image; it runs as root, with network, in a copy of the repository",
            )


def _commit(docker: Any, container: Any, tag: str, image: str, owner: str) -> Mapping[str, Any]:
    repository, _, version = tag.partition(":")
    before = docker.images.get(image).attrs.get("Config") or {}
    conf = {"Env": before.get("Env"), "Cmd": before.get("Cmd"), "Labels": dict(labels(What.HELPER, owner))}
    container.commit(repository=repository, tag=version, conf=conf)
    found: Mapping[str, Any] = docker.images.get(tag).attrs
    return found
