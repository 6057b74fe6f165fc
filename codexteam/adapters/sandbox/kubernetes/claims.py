"""Claims: what a sandbox is asked for with, how it is found again, and why one does not become ready."""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from codexteam.adapters.sandbox.kubernetes.api import ClusterApi
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.core.text import clean_line

#: On every claim: whose it is, as a digest, since a label holds no path.
OWNER = "codexteam-owner"
RUN = "codexteam-run"
_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")
#: A claim that everybody has forgotten goes by itself.
_LONGEST = timedelta(hours=24)
_WATCH_SECONDS = 30
#: States of a container that it does not leave by itself within the time of a start.
_STUCK = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff"}
)


class ClaimError(Exception):
    """A claim did not become a pod; the message has foreign text."""


@dataclass(frozen=True, slots=True)
class ClaimedPod:
    """The pod of a claim."""

    name: str
    manifest: JSONObject


def claim_name(agent: AgentKey) -> str:
    """Return how the names of an agent's claims begin: a name of the DNS, another one for every agent."""
    fields = (agent.run_id, agent.role, agent.purpose.value, agent.task_id or "run", str(agent.attempt))
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(fields[1:]).lower()).strip("-")[:30].strip("-")
    return f"codexteam-{words}-{hashlib.sha256(chr(0).join(fields).encode()).hexdigest()[:12]}"


def owner_label(owner: str) -> str:
    """Return an owner as a label's value."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def labels(owner: str, agent: AgentKey) -> dict[str, str]:
    """Return the labels of an agent's claim and pod."""
    return {
        "app.kubernetes.io/managed-by": "codexteam",
        OWNER: owner_label(owner),
        RUN: _label(agent.run_id),
        "codexteam-role": _label(agent.role),
        "codexteam-purpose": _label(agent.purpose.value),
        "codexteam-task": _label(agent.task_id or "run"),
        "codexteam-attempt": str(agent.attempt),
    }


def _label(text: str) -> str:
    return _LABEL.sub("_", text)[:63].strip("_.-") or "none"


def claim_of(agent: AgentKey, owner: str, pool: str, now: datetime) -> tuple[str, JSONObject]:
    """Return the name of a new claim of an agent's sandbox, and the claim.

    Each try has a name of its own: what an earlier one left may take long to go, and nobody waits for it.
    """
    name = f"{claim_name(agent)}-{int(now.timestamp() * 1000) & 0xFFFFFFFF:08x}"
    marks: JSONObject = {**labels(owner, agent)}
    until = (now.astimezone(UTC) + _LONGEST).strftime("%Y-%m-%dT%H:%M:%SZ")
    return name, {
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1",
        "kind": "SandboxClaim",
        "metadata": {"name": name, "labels": marks, "annotations": {"codexteam-owner": owner}},
        "spec": {
            "warmPoolRef": {"name": pool},
            "lifecycle": {"shutdownTime": until, "shutdownPolicy": "Delete"},
            "additionalPodMetadata": {"labels": marks},
        },
    }


def agent_of(marks: Mapping[str, Any]) -> AgentKey | None:
    """Read an agent from the labels of its claim; None where another version wrote them."""
    try:
        task = str(marks["codexteam-task"])
        return AgentKey(
            RunId(str(marks[RUN])),
            str(marks["codexteam-role"]),
            Purpose(str(marks["codexteam-purpose"])),
            "" if task == "run" else task,
            int(str(marks["codexteam-attempt"])),
        )
    except (KeyError, ValueError):
        return None


def selector(owner: str, run_id: str | None = None) -> str:
    """Return what chooses the claims of an owner, of one run if it is given."""
    chosen = f"{OWNER}={owner_label(owner)}"
    return chosen if run_id is None else f"{chosen},{RUN}={_label(run_id)}"


async def remove_of(api: ClusterApi, owner: str, agent: AgentKey) -> None:
    """Delete what earlier tries of an agent left; their pods go by themselves.

    Raises:
        ApiError: the API server refuses.
    """
    for claim in await all_claims(api, owner, agent.run_id):
        name = str(claim["metadata"]["name"])
        if is_of(name, agent):
            await api.delete(f"{api.claims}/{name}")


def is_of(name: str, agent: AgentKey) -> bool:
    """Return whether a claim of that name is an agent's."""
    return name.rpartition("-")[0] == claim_name(agent)


async def pod_of(api: ClusterApi, name: str, *, seconds: float) -> ClaimedPod:
    """Wait until a claim has a pod that runs.

    Raises:
        ApiError: the API server refuses.
        ClaimError: it has none, and why.
    """
    why = "its controller has not said anything"
    try:
        async with asyncio.timeout(seconds):
            while True:
                claim = await api.get(f"{api.claims}/{name}")
                if claim is None:
                    raise ClaimError("its claim was removed")
                found = await _look(api, claim)
                if isinstance(found, ClaimedPod):
                    return found
                why, is_stuck = found
                if is_stuck:
                    raise ClaimError(why)
                version = str(claim["metadata"].get("resourceVersion", ""))
                query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version}
                async for _ in api.watch(api.claims, query, seconds=_WATCH_SECONDS):
                    break
    except TimeoutError:
        raise ClaimError(f"its pod was not ready within {seconds:.0f} seconds: {why}") from None


async def _look(api: ClusterApi, claim: Any) -> ClaimedPod | tuple[str, bool]:
    """Return the pod, or why there is none that runs, and whether that stays so."""
    status = claim.get("status") or {}
    ready = _condition(status, "Ready")
    sandbox_name = str((status.get("sandbox") or {}).get("name") or "")
    why = _words(ready) or "its controller has not said anything"
    if ready.get("reason") in {"TemplateNotFound", "WarmPoolNotFound", "VolumeClaimTemplatesError", "ClaimExpired"}:
        return why, True
    if not sandbox_name:
        return why, False
    sandbox = await api.get(f"{api.sandboxes}/{sandbox_name}") or {}
    annotations = (sandbox.get("metadata") or {}).get("annotations") or {}
    pod_name = str(annotations.get("agents.x-k8s.io/pod-name") or sandbox_name)
    pod = await api.get(f"{api.pods}/{pod_name}")
    if pod is None:
        return why, False
    if ready.get("status") == "True":
        return ClaimedPod(pod_name, pod)
    scheduled = _condition(pod.get("status") or {}, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"no node takes it: {_words(scheduled)}", False
    said = []
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        container_name = clean_line(str(container.get("name")))
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            return f"its container {container_name}: {_words(waiting)}", True
        if waiting:
            said.append(f"{container_name}: {_words(waiting)}")
    phase = clean_line(str((pod.get("status") or {}).get("phase") or "Unknown"))
    return f"{why}; its pod {pod_name} is {phase}{': ' if said else ''}{'; '.join(said)}", False


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found = [each for each in status.get("conditions") or [] if each.get("type") == kind]
    return found[0] if found else {}


def _words(said: Mapping[str, Any]) -> str:
    parts = [clean_line(str(said[key])) for key in ("reason", "message") if said.get(key)]
    return ": ".join(parts)


async def all_claims(api: ClusterApi, owner: str, run_id: str | None = None) -> Sequence[Any]:
    """Return the claims of an owner, of one run if it is given."""
    found = await api.ask("GET", api.claims, query={"labelSelector": selector(owner, run_id)})
    return list(found.get("items") or [])
