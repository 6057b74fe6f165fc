"""Whether a pod is confined as sandboxes must be: what its template and its cluster really made of it, read back."""

from collections.abc import Mapping, Sequence
from typing import Any

from codexteam.adapters.sandbox.channel import Channel
from codexteam.adapters.sandbox.protocol import Hello
from codexteam.core.text import clean_line
from codexteam.ports.sandbox import WORKSPACE, Command

#: The container whose commands may write the workspace, and the one whose may not.
WRITER, READER = "sandbox", "reader"
#: Shared by both, and writable: the server and its own data.
INSIDE = "/run/codexteam"
#: A policy that drops packets answers nothing, so the look waits for so long at most.
_REACH_SECONDS = 2.0
_REACH = f"""
import os, socket, sys
where = os.environ.get("KUBERNETES_SERVICE_HOST"), int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
for address in [where] if where[0] else []:
    try:
        socket.create_connection(address, {_REACH_SECONDS}).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        continue
    print("reached %s:%d" % address)
"""


def looseness(pod: Mapping[str, Any], container: str, runtime: str | None) -> list[str]:
    """Return what of a pod is not as it must be, by the field of its manifest.

    Args:
        pod: As the API server has it.
        container: The one that commands are to run in.
        runtime: The RuntimeClass that is asked for; None: any.
    """
    spec: Mapping[str, Any] = pod.get("spec") or {}
    found = [f"{field} is {spec.get(field)}" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    if spec.get("shareProcessNamespace"):
        found.append("shareProcessNamespace is True")
    if runtime is not None and spec.get("runtimeClassName") != runtime:
        found.append(f"runtimeClassName is {spec.get('runtimeClassName') or 'not set'} instead of {runtime}")
    found += [f"volume {each.get('name')} is a hostPath" for each in spec.get("volumes") or [] if each.get("hostPath")]
    containers = {each.get("name"): each for each in spec.get("containers") or []}
    if container not in containers:
        return [*found, f"it has no container {container}"]
    # whoever is in the same pod shares its network, and what it mounts
    for name, each in sorted(containers.items()):
        found += [f"{name}: {words}" for words in _loose_container(each, spec.get("securityContext") or {})]
    found += _mounts(containers[container], container)
    return [clean_line(each) for each in found]


def _loose_container(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> list[str]:
    context: Mapping[str, Any] = {**of_pod, **(container.get("securityContext") or {})}
    found = []
    if context.get("privileged"):
        found.append("privileged is True")
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation is not False")
    if context.get("runAsNonRoot") is not True and not context.get("runAsUser"):
        found.append("runAsNonRoot is not True")
    if context.get("runAsUser") == 0:
        found.append("runAsUser is 0")
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []) or capabilities.get("add"):
        found.append("capabilities are not all dropped")
    if (context.get("seccompProfile") or {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        found.append("seccompProfile is not RuntimeDefault")
    paths = [str(mount.get("mountPath", "")) for mount in container.get("volumeMounts") or []]
    found += [
        f"{path} has credentials of the cluster (automountServiceAccountToken)"
        for path in paths
        if path.startswith("/var/run/secrets")
    ]
    if container.get("volumeDevices"):
        found.append("it has devices")
    return found


def _mounts(container: Mapping[str, Any], name: str) -> list[str]:
    mounts = {str(mount.get("mountPath")).rstrip("/"): mount for mount in container.get("volumeMounts") or []}
    found = [f"{name} mounts nothing at {path}" for path in (WORKSPACE, INSIDE) if path not in mounts]
    if name == READER and WORKSPACE in mounts and not mounts[WORKSPACE].get("readOnly"):
        found.append(f"{READER} can write {WORKSPACE}")
    return found


def unlimited(pod: Mapping[str, Any], container: str) -> tuple[str, ...]:
    """Return what of a sandbox nothing limits: the template's word counts, whatever the settings say."""
    spec: Mapping[str, Any] = pod.get("spec") or {}
    own: Mapping[str, Any] = next((each for each in spec.get("containers") or [] if each.get("name") == container), {})
    limits = (own.get("resources") or {}).get("limits") or {}
    found = [what for what, key in (("memory", "memory"), ("cpu", "cpu")) if key not in limits]
    empty = [each.get("emptyDir") for each in spec.get("volumes") or [] if "emptyDir" in each]
    if "ephemeral-storage" not in limits and not all((each or {}).get("sizeLimit") for each in empty):
        found.append("disk")
    return (*found, "processes")  # a node's own setting


def loose_server(hello: Hello) -> list[str]:
    """Return what the kernel says otherwise than it must, of the server inside."""
    found = []
    if hello.uid == 0:
        found.append("commands would be root's")
    if hello.capabilities:
        found.append(f"capabilities {hello.capabilities:#x} instead of none")
    if not hello.no_new_privileges:
        found.append("no_new_privileges is off")
    if not hello.filtered:
        found.append("no system call filter")
    return found


async def reached(channel: Channel, environment: Mapping[str, str]) -> str:
    """Return what commands reach of the cluster's own network; empty where a policy keeps them from it."""
    argv: Sequence[str] = ("python3", "-I", "-S", "-c", _REACH)
    looked = await channel.run(Command(argv, cwd="/", timeout_seconds=30.0), environment)
    said = clean_line(looked.output.decode("utf-8", "replace"))
    if not looked.ok:
        return f"nothing is known of: {said}"
    return said.removeprefix("reached ")
