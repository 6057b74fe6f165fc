"""Removes by label what runs left behind; what has no label of ours is never touched."""

from collections.abc import Sequence

from codexteam.adapters.docker.client import EngineClient
from codexteam.adapters.docker.containers import remove, remove_base, remove_volume
from codexteam.adapters.docker.naming import OURS, RUN, What, sandbox_name, what_of
from codexteam.core.ids import AgentKey


async def sweep(client: EngineClient, owner: str, run_id: str | None, keep: Sequence[AgentKey]) -> list[str]:
    """Remove the containers and volumes of a run (None: of every run of this owner); give their names.

    Checkouts stay, and so do helpers that are at work for another process; the rows of slots stay while a kept
    sandbox may lie in one.
    """
    docker = await client.connect()
    kept = {sandbox_name(agent) for agent in keep}
    chosen = [f"{OURS}=1", f"codexteam.owner={owner}"]
    removed = []
    containers = await client.call(docker.containers.list, all=True, ignore_removed=True, filters={"label": chosen})
    for container in containers:
        name, marks = str(container.name), container.labels
        what = what_of(marks)
        if what == What.HELPER:
            if container.status != "running" and await remove(client, name):
                removed.append(name)
                if name.endswith("-helper"):  # its checkout was never finished
                    await remove_base(client, name.removesuffix("-helper"))
            continue
        spared = name in kept or (kept and what == What.SLOTS) or (run_id is not None and marks.get(RUN) != run_id)
        if not spared and await remove(client, name):
            removed.append(name)
    volumes = await client.call(docker.volumes.list, filters={"label": chosen})
    for volume in volumes:
        name, marks = str(volume.name), volume.attrs.get("Labels") or {}
        of_run = RUN in marks and (run_id is None or marks[RUN] == run_id)
        # a volume that a kept container uses cannot be removed, and says so
        if of_run and await remove_volume(client, name):
            removed.append(name)
    return removed
