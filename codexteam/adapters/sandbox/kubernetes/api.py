"""The API server of a cluster: JSON resources, watches, and execs, with the errors that people can do something about."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean, clean_line
from codexteam.errors import SandboxUnavailable

_INSTALL = "pip install 'codexteam[kubernetes]'"
_SECONDS = 30.0
_NOT_FOUND, _CONFLICT = 404, 409


class ApiError(Exception):
    """The API server refused; the message is its own, and so foreign text. `status` is 0 where it did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClusterApi:
    """One cluster, as one person. Owned by who made it, who closes it."""

    def __init__(self, client: Any, streams: Any, namespace: str) -> None:
        """Take clients of `kubernetes_asyncio`; see `connect`."""
        self._client = client
        self._streams = streams
        self.namespace = namespace

    @classmethod
    async def connect(cls, environment: Mapping[str, str], context: str | None, namespace: str) -> "ClusterApi":
        """Read how the cluster is reached, as kubectl does; nothing is asked yet.

        Raises:
            SandboxUnavailable: there is no such context, or the client is not installed; says what to do.
        """
        try:
            from kubernetes_asyncio import client, config
            from kubernetes_asyncio.stream import WsApiClient
        except ImportError as error:
            raise SandboxUnavailable(f"the client of Kubernetes is not installed: {error}", hint=_INSTALL) from error
        configuration = client.Configuration()
        inside = "KUBERNETES_SERVICE_HOST" in environment and context is None and "KUBECONFIG" not in environment
        try:
            if inside:
                load: Any = config.load_incluster_config  # not typed
                load(client_configuration=configuration)
            else:
                file = environment.get("KUBECONFIG") or str(Path(environment.get("HOME", "~")) / ".kube" / "config")
                if not any([await asyncio.to_thread(Path(each).is_file) for each in file.split(os.pathsep) if each]):
                    raise SandboxUnavailable(
                        f"there is no kubeconfig {clean_line(file)}",
                        hint="KUBECONFIG names another; `kubectl config view` shows what kubectl finds",
                    )
                await config.load_kube_config(
                    config_file=file, context=context, client_configuration=configuration, persist_config=False
                )
        except (config.ConfigException, OSError, TypeError, ValueError) as error:
            raise SandboxUnavailable(
                f"how the cluster is reached cannot be read: {clean_line(str(error))}",
                hint="see `kubectl config get-contexts`; [codexteam.sandbox.kubernetes] context names one",
            ) from error
        return cls(client.ApiClient(configuration), WsApiClient(configuration), namespace)

    async def ask(
        self, method: str, path: str, body: JSONObject | None = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """Return what the API server answers.

        Raises:
            ApiError: it refuses, or does not answer.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._call(method, path, body, query)
                text = await answer.text()
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise ApiError(0, clean_line(str(error)) or "no answer") from error
        if answer.status >= 400:
            raise ApiError(answer.status, _message(text))
        return json.loads(text) if text else None

    async def _call(self, method: str, path: str, body: JSONObject | None, query: Mapping[str, str] | None) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        await self._authenticate(self._client, headers)
        pool = self._client.rest_client.pool_manager
        url = self._client.configuration.host + path
        data = None if body is None else json.dumps(body)
        return await pool.request(method, url, headers=headers, params=dict(query or {}), data=data)

    @staticmethod
    async def _authenticate(client: Any, headers: dict[str, str]) -> None:
        found = client.update_params_for_auth(headers, [], ["BearerToken"])
        if asyncio.iscoroutine(found):
            await found

    async def watch(self, path: str, query: Mapping[str, str], *, seconds: int) -> AsyncIterator[None]:
        """Yield whenever something of a list changes, for so long; ends sooner where the connection does.

        Raises:
            ApiError: it may not be watched.
        """
        asked = {**query, "watch": "1", "timeoutSeconds": str(seconds)}
        try:
            async with asyncio.timeout(seconds + _SECONDS):
                answer = await self._call("GET", path, None, asked)
                try:
                    if answer.status >= 400:
                        raise ApiError(answer.status, _message(await answer.text()))
                    while line := await answer.content.readline():
                        event = json.loads(line)
                        if event.get("type") == "ERROR":  # 410: the list is looked at anew
                            return
                        yield None
                finally:
                    answer.close()
        except (TimeoutError, OSError, ValueError, aiohttp.ClientError):
            return

    async def execute(self, pod: str, container: str, argv: Sequence[str]) -> Any:
        """Start a program in a container; give the websocket that carries its streams (`v4.channel.k8s.io`).

        Raises:
            ApiError: it cannot be started.
        """
        path = f"{self.pods}/{quote(pod)}/exec"
        query = [("container", container), ("stdin", "1"), ("stdout", "1"), ("stderr", "1")]
        headers: dict[str, str] = {}
        await self._authenticate(self._streams, headers)
        query += [("command", word) for word in argv]
        url = self._streams.configuration.host + path
        try:
            async with asyncio.timeout(_SECONDS):
                opening = await self._streams.request("GET", url, query, headers, _preload_content=False)
                return await opening
        except aiohttp.WSServerHandshakeError as error:  # what the server says of it cannot be read any more
            raise ApiError(error.status, f"{argv[0]} cannot be started in {container} of {pod}") from error
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            raise ApiError(0, clean_line(str(error)) or "no answer") from error

    async def get(self, path: str) -> Any:
        """Return a resource; None where there is none."""
        try:
            return await self.ask("GET", path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def create(self, path: str, body: JSONObject) -> bool:
        """Create a resource; False where there is one of that name."""
        try:
            await self.ask("POST", path, body)
        except ApiError as error:
            if error.status == _CONFLICT:
                return False
            raise
        return True

    async def delete(self, path: str) -> bool:
        """Delete a resource with all that belongs to it; False where there was none."""
        try:
            await self.ask("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    @property
    def claims(self) -> str:
        """The path of all claims."""
        return f"/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/{self.namespace}/sandboxclaims"

    @property
    def pools(self) -> str:
        """The path of all pools."""
        return f"/apis/extensions.agents.x-k8s.io/v1beta1/namespaces/{self.namespace}/sandboxwarmpools"

    @property
    def sandboxes(self) -> str:
        """The path of all sandboxes."""
        return f"/apis/agents.x-k8s.io/v1beta1/namespaces/{self.namespace}/sandboxes"

    @property
    def pods(self) -> str:
        """The path of all pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def server(self) -> str:
        """Where it is, as people are shown it."""
        return clean_line(str(self._client.configuration.host))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
        await self._streams.close()


def _message(text: str) -> str:
    """Return what a refusal says: a `Status`, or whatever stands between us and the API server."""
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict) and isinstance(said.get("message"), str):
            return clean(said["message"])
    return clean_line(text[:500]) or "no reason"
