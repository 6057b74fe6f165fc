"""A stand-in for a cluster: the API server's answers where the engine depends on them, and pods that are Docker containers.

It keeps what is created, with versions, watches and selectors; refuses what the roles of `deploy/kubernetes` do not allow;
makes of each claim a sandbox and a pod, as the controllers of agent-sandbox do; and carries an exec's streams over a
websocket (`v4.channel.k8s.io`). A test may take any of it away.
"""

import asyncio
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web

IMAGE = os.environ.get("CODEXTEAM_TEST_SANDBOX_IMAGE", "codexteam-sandbox:test")
DEPLOY = Path(__file__).parents[1] / "deploy" / "kubernetes"
NAMESPACE = "codexteam"
_EXTENSIONS = "extensions.agents.x-k8s.io"
_CLAIMS = f"/apis/{_EXTENSIONS}/v1beta1/namespaces/{NAMESPACE}/sandboxclaims"
_POOLS = f"/apis/{_EXTENSIONS}/v1beta1/namespaces/{NAMESPACE}/sandboxwarmpools"
_SANDBOXES = f"/apis/agents.x-k8s.io/v1beta1/namespaces/{NAMESPACE}/sandboxes"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
#: Whose pods are here: a label of their containers.
_LABEL = "codexteam-stand-in"


def documents(folder: Path = DEPLOY) -> Iterator[dict[str, Any]]:
    """Yield every resource of the manifests."""
    for path in sorted(folder.glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            if each.get("kind") != "Kustomization":
                yield each


def named(kind: str, name: str) -> dict[str, Any]:
    """Give one resource of the manifests."""
    [found] = [each for each in documents() if each["kind"] == kind and each["metadata"]["name"] == name]
    return deepcopy(found)


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(body, status=code)


@dataclass
class StandInCluster:
    """One namespace. Owned by `stand_in_cluster`."""

    folder: Path
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By path."""
    used: set[tuple[str, str, str]] = field(default_factory=set)
    """What was asked for: API group, resource, verb."""
    enforces: bool = True
    """Whether its network keeps pods from everything."""
    waiting: dict[str, str] | None = None
    """What containers say that do not start."""
    scheduled: str = ""
    """Why no node takes a pod; empty: one does."""
    quota: str = ""
    """Why no claim may be created."""
    version: int = 0
    pod_changes: dict[str, Any] = field(default_factory=dict)
    """Goes over the spec of each pod that is made."""
    port: int = 0
    _changed: "dict[str, asyncio.Event]" = field(default_factory=lambda: defaultdict(asyncio.Event))
    _tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)
    _streams: "set[asyncio.subprocess.Process]" = field(default_factory=set)
    _runner: web.AppRunner | None = None

    async def listen(self) -> None:
        """Answer, on the same port as before if there was one."""
        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("GET", _PODS + "/{name}/exec", self._exec)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        server: Any = site._server
        self.port = server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse connections, and end those there are; pods run on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, user: str = "runner") -> Path:
        """Write how a person reaches it: `runner`, `viewer` or `stranger`."""
        path = self.folder / f"{user}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": user, "namespace": NAMESPACE}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    @property
    def claims(self) -> dict[str, dict[str, Any]]:
        """All claims, by name."""
        return {path.rpartition("/")[2]: each for path, each in self.objects.items() if path.startswith(_CLAIMS + "/")}

    def pods(self) -> dict[str, dict[str, Any]]:
        """All pods, by name."""
        return {path.rpartition("/")[2]: each for path, each in self.objects.items() if path.startswith(_PODS + "/")}

    def put(self, path: str, value: dict[str, Any]) -> None:
        """Keep an object, and wake who watches its list."""
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = value
        self._wake(path)

    def _wake(self, path: str) -> None:
        event = self._changed.pop(path.rpartition("/")[0], None)
        if event is not None:
            event.set()

    # requests

    def _refusal(self, request: web.Request, group: str, resource: str, verb: str) -> web.Response | None:
        self.used.add((group, resource, verb))
        user = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if user not in {"runner", "viewer", "stranger"}:
            return _status(401, "Unauthorized", "Unauthorized")
        rules = [] if user == "stranger" else named("Role", f"codexteam-{user}")["rules"]
        for rule in rules:
            if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
                return None
        message = (
            f'{resource}.{group} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}"'
        )
        return _status(403, "Forbidden", message)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        if path == "/version":
            return web.json_response({"gitVersion": "v1.36.0"})
        parts = path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        at = parts.index("namespaces") + 2 if "namespaces" in parts else len(parts)
        if len(parts) <= at:
            return _status(404, "NotFound", "the server could not find the requested resource")
        resource, is_one = parts[at], len(parts) > at + 1
        watches = "watch" in request.query
        verb = {"POST": "create", "DELETE": "delete"}.get(
            request.method, "watch" if watches else "get" if is_one else "list"
        )
        refused = self._refusal(request, group, resource, verb)
        if refused is not None:
            return refused
        if verb == "create":
            return await self._create(path, await request.json())
        if watches:
            return await self._watch(request, path)
        if is_one:
            found = self.objects.get(path)
            if found is None:
                return _status(404, "NotFound", f'{resource}.{group} "{parts[-1]}" not found')
            if verb == "delete":
                self._spawn(self._remove(path))
            return web.json_response(found)
        items = [each for each in self._below(path) if _chosen(each, request.query)]
        return web.json_response({"items": items, "metadata": {"resourceVersion": str(self.version)}})

    def _below(self, path: str) -> list[dict[str, Any]]:
        return [each for place, each in self.objects.items() if place.rpartition("/")[0] == path]

    async def _create(self, path: str, value: dict[str, Any]) -> web.Response:
        name = value["metadata"]["name"]
        if self.quota:
            return _status(403, "Forbidden", f'sandboxclaims "{name}" is forbidden: {self.quota}')
        if f"{path}/{name}" in self.objects:
            return _status(409, "AlreadyExists", f'"{name}" already exists')
        self.put(f"{path}/{name}", value)
        self._spawn(self._reconcile(name))
        return web.json_response(value, status=201)

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query.get("resourceVersion") or 0)
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", "60"))):
                while True:
                    event = self._changed[path]
                    new = [each for each in self._below(path) if int(each["metadata"]["resourceVersion"]) > seen]
                    for each in new:
                        seen = max(seen, int(each["metadata"]["resourceVersion"]))
                        if _chosen(each, request.query):
                            await response.write(json.dumps({"type": "MODIFIED", "object": each}).encode() + b"\n")
                    await event.wait()
                    if len(self._below(path)) == 0 or not any(
                        _chosen(each, request.query) for each in self._below(path)
                    ):
                        await response.write(b'{"type": "DELETED", "object": {}}\n')
        return response

    # controllers and a kubelet

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reconcile(self, name: str) -> None:
        claim = self.objects[f"{_CLAIMS}/{name}"]
        pool = self.objects.get(f"{_POOLS}/{claim['spec']['warmPoolRef']['name']}")
        if pool is None:
            self._say(name, "WarmPoolNotFound", f"SandboxWarmPool {claim['spec']['warmPoolRef']['name']} not found")
            return
        template = named("SandboxTemplate", pool["spec"]["sandboxTemplateRef"]["name"])["spec"]["podTemplate"]
        labels = {**template["metadata"]["labels"], **claim["spec"]["additionalPodMetadata"]["labels"]}
        spec = {**template["spec"], **self.pod_changes, "nodeName": "node1"}
        pod: dict[str, Any] = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        pod["status"] = {"phase": "Pending", "conditions": [], "containerStatuses": []}
        self.put(f"{_SANDBOXES}/{name}", {"metadata": {"name": name, "annotations": {}}})
        claim.setdefault("status", {})["sandbox"] = {"name": name}
        if self.scheduled:
            said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": self.scheduled}
            pod["status"]["conditions"].append(said)
        self.put(f"{_PODS}/{name}", pod)
        if self.scheduled or self.waiting is not None:
            waits = [{"name": "sandbox", "state": {"waiting": self.waiting}}] if self.waiting else []
            pod["status"]["containerStatuses"] = waits
            self._say(name, "SandboxNotReady", "Pod is not ready")
            return
        for container in spec["containers"]:
            await self._run_container(name, container)
        if f"{_PODS}/{name}" not in self.objects:  # deleted meanwhile
            await self._remove_containers(name)
            return
        pod["status"] = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": each["name"], "restartCount": 0} for each in spec["containers"]],
        }
        self._say(name, "DependenciesReady", "", ready="True")

    def _say(self, name: str, reason: str, message: str, *, ready: str = "False") -> None:
        claim = self.objects.get(f"{_CLAIMS}/{name}")
        if claim is not None:
            said = {"type": "Ready", "status": ready, "reason": reason, "message": message}
            claim.setdefault("status", {})["conditions"] = [said]
            self.put(f"{_CLAIMS}/{name}", claim)

    async def _run_container(self, pod: str, container: dict[str, Any]) -> None:
        user = container.get("securityContext", {}).get("runAsUser", 10001)
        argv = ["run", "--detach", "--name", _container(pod, container["name"]), "--label", f"{_LABEL}={self.folder}"]
        argv += ["--user", f"{user}:{user}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        argv += ["--network", "none" if self.enforces else "host", "--memory", "1g", "--tmpfs", "/tmp:mode=1777,exec"]
        port = self.port if not self.enforces else 443
        argv += [
            "-e",
            "KUBERNETES_SERVICE_HOST=127.0.0.1" if not self.enforces else "KUBERNETES_SERVICE_HOST=10.96.0.1",
        ]
        argv += ["-e", f"KUBERNETES_SERVICE_PORT={port}", "-e", "TOOL_HOME=/opt/tool"]
        for mount in container["volumeMounts"]:
            folder = self.folder / "volumes" / pod / mount["name"]
            await asyncio.to_thread(_make_open, folder)
            argv += ["-v", f"{folder}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"]
        await _docker(*argv, IMAGE, "sleep", "infinity")

    async def _remove(self, path: str) -> None:
        name = path.rpartition("/")[2]
        await self._remove_containers(name)
        for each in (f"{_PODS}/{name}", f"{_SANDBOXES}/{name}", f"{_CLAIMS}/{name}"):
            if self.objects.pop(each, None) is not None:
                self.version += 1
                self._wake(each)

    async def _remove_containers(self, pod: str) -> None:
        await _docker("rm", "--force", *(_container(pod, name) for name in ("sandbox", "reader")), check=False)

    async def lose_pod(self, name: str, **status: Any) -> None:
        """Let a pod end: its containers are gone, and its status says so, or it is removed."""
        await self._remove_containers(name)
        if not status:
            self.objects.pop(f"{_PODS}/{name}", None)
        else:
            self.objects[f"{_PODS}/{name}"]["status"].update(status)

    async def cut_streams(self) -> None:
        """Break the connection of every exec that runs."""
        for process in list(self._streams):
            with suppress(ProcessLookupError):
                process.kill()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        refused = self._refusal(request, "", "pods/exec", "get")
        if refused is not None:
            return refused
        name, container = request.match_info["name"], request.query["container"]
        if f"{_PODS}/{name}" not in self.objects:
            return _status(404, "NotFound", f'pods "{name}" not found')
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"], max_msg_size=1 << 24)
        await socket.prepare(request)
        argv = ["docker", "exec", "--interactive", _container(name, container), *request.query.getall("command")]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._streams.add(process)

        async def carry(channel: int, reader: asyncio.StreamReader) -> None:
            while data := await reader.read(1 << 16):
                await socket.send_bytes(bytes((channel,)) + data)

        async def give(writer: asyncio.StreamWriter) -> None:
            async for message in socket:
                if message.type == WSMsgType.BINARY and message.data[:1] == b"\0":
                    writer.write(message.data[1:])
                    await writer.drain()
            writer.close()

        giving = asyncio.ensure_future(give(process.stdin))
        carrying = [
            asyncio.ensure_future(carry(1, process.stdout)),
            asyncio.ensure_future(carry(2, process.stderr)),
        ]
        try:
            with suppress(ConnectionError):
                await asyncio.gather(*carrying)
            code = await process.wait()
            ok = {"metadata": {}, "status": "Success"}
            failed = {"status": "Failure", "message": f"command terminated with exit code {code}"}
            with suppress(ConnectionError):
                await socket.send_bytes(b"\3" + json.dumps(failed if code else ok).encode())
        finally:
            for task in (giving, *carrying):
                task.cancel()
            await asyncio.gather(giving, *carrying, return_exceptions=True)
            await _ended(process)
            self._streams.discard(process)
        await socket.close()
        return socket

    async def close(self) -> None:
        """End it with all its pods."""
        await asyncio.gather(*self._tasks, return_exceptions=True)  # what was begun is soon done
        await self.stop_listening()
        left = await _docker("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={self.folder}")
        if left:
            await _docker("rm", "--force", *left.split(), check=False)  # some are being removed


def _container(pod: str, name: str) -> str:
    return f"{pod}.{name}"


def _make_open(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)  # what fsGroup does


def _chosen(value: dict[str, Any], query: Any) -> bool:
    metadata = value["metadata"]
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        if part != f"metadata.name={metadata['name']}":
            return False
    for part in filter(None, query.get("labelSelector", "").split(",")):
        key, _, wanted = part.partition("=")
        if (metadata.get("labels") or {}).get(key) != wanted:
            return False
    return True


async def _ended(process: asyncio.subprocess.Process) -> None:
    """See that a process is gone, and nothing of it is left open."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    transport.close()


async def _docker(*argv: str, check: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        "docker",
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        await _ended(process)
    if check and process.returncode:
        raise RuntimeError(f"docker {argv[0]}: {err.decode()}")
    return out.decode()


@asynccontextmanager
async def stand_in_cluster() -> AsyncIterator[StandInCluster]:
    """Give a cluster with the pools of the manifests."""
    with tempfile.TemporaryDirectory(prefix="codexteam-k8s-", ignore_cleanup_errors=True) as folder:
        cluster = StandInCluster(Path(folder))
        for each in documents():
            if each["kind"] == "SandboxWarmPool":
                cluster.put(f"{_POOLS}/{each['metadata']['name']}", each)
        await cluster.listen()
        try:
            yield cluster
        finally:
            await cluster.close()
