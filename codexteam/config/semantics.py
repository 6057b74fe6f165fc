"""What single values cannot show: keys that exclude each other, names that must exist, files that must be there."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from codexteam.config.codex_schema import refuse
from codexteam.config.layers import MergedLayers
from codexteam.config.permissions import permission_problems
from codexteam.config.provider_settings import BUILT_IN_PROVIDERS, RESERVED_PROVIDERS
from codexteam.config.schema import Problem, describe, did_you_mean
from codexteam.config.toml_file import KeyPath, read_bytes
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ConfigError

_DECISIONS = ("allow", "prompt", "forbidden")


def check_rules(folders: Iterable[Path]) -> None:
    """Check the rules files of Codex's home and of trusted projects.

    Raises:
        ConfigError: One is broken, or has a decision that does not exist.
    """
    for folder in dict.fromkeys(folders):
        rules = folder / "rules"
        for path in sorted(rules.glob("*.rules")) if rules.is_dir() else ():
            _check(path, read_bytes(path) or b"")


def _check(path: Path, content: bytes) -> None:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ConfigError(
            f"{path}:{line}: not a rules file: {error}", hint="see `codex execpolicy check --help`"
        ) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "prefix_rule":
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg == "decision" and isinstance(value, ast.Constant) and value.value not in _DECISIONS:
                    raise ConfigError(
                        f"{path}:{value.lineno}: decision: found {value.value!r}; allowed: {', '.join(_DECISIONS)}"
                    )


_BEDROCK = ("amazon-bedrock", "amazon-bedrock-runtime")
_HTTP_ONLY = (
    "bearer_token_env_var",
    "http_headers",
    "env_http_headers",
    "http_headers_helper",
    "oauth",
    "oauth_resource",
)
_HOST_ENTRY = re.compile(
    r"(?:(?:\*\.)?[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?|[0-9A-Fa-f:.]{2,45}"
)
_STDIO_ONLY = ("args", "env", "env_vars", "cwd")


def check_meaning(merged: MergedLayers) -> None:
    """Check the merged values against each other and against what they name.

    Raises:
        ConfigError: Something cannot be meant; every problem is named.
    """
    found = [
        *_removed_settings(merged),
        *_providers(merged),
        *_threads(merged),
        *_mcp_servers(merged),
        *_places(merged),
        *_hosts(merged),
        *_runtimes(merged),
        *permission_problems(merged),
    ]
    if found:
        raise refuse([(merged.place(problem.path), problem) for problem in found])
    _files(merged)


def _runtimes(merged: MergedLayers) -> Iterator[Problem]:
    sandbox = merged.table("codexteam", "sandbox")
    path = ("codexteam", "sandbox", "require_runtime")
    required = sandbox.get("require_runtime")
    if required is None:
        return
    if sandbox.get("kind") == "bubblewrap":
        found = f'{describe(required)} with `kind = "bubblewrap"`'
        yield Problem(path, found, "`kind` docker or auto: bubblewrap has no runtimes")
    if sandbox.get("runtime") not in (None, required):
        yield Problem(path, f"{describe(required)}, and another `runtime`", "the same, or no `runtime`")
    if sandbox.get("dockerfile") is not None:
        found, allowed = f"{describe(required)} with `dockerfile`", "`image`: images are built outside of a runtime"
        yield Problem(path, found, allowed, "build it yourself and name it as `image`")


def _removed_settings(merged: MergedLayers) -> Iterator[Problem]:
    if merged.get("approval_policy") == "untrusted":
        yield Problem(
            ("approval_policy",),
            '"untrusted", which is no longer supported',
            "on-request or never",
            "remove this setting",
        )
    profile = merged.text("profile")
    if profile is not None:
        yield Problem(
            ("profile",),
            f'the legacy selector "{profile}", which is no longer supported',
            "no such key",
            f"use -p {profile} with {profile}.config.toml in your Codex home",
        )
    if merged.get("experimental_thread_store_endpoint") is not None:
        yield Problem(
            ("experimental_thread_store_endpoint",), "a key that is no longer supported", "no such key", "remove it"
        )
    budget = merged.get("features", "rollout_budget")
    enabled = budget is True or (isinstance(budget, dict) and budget.get("enabled") is True)
    limits = {"limit_tokens", "limit_budget"} & (budget.keys() if isinstance(budget, dict) else set())
    if enabled and not limits:
        yield Problem(
            ("features", "rollout_budget"),
            "neither `limit_tokens` nor `limit_budget`",
            "a table with one of them once it is enabled",
        )
    if len(limits) == 2:
        yield Problem(("features", "rollout_budget"), "`limit_tokens` and `limit_budget`", "one of the two")


def _providers(merged: MergedLayers) -> Iterator[Problem]:
    providers = merged.table("model_providers")
    for name, provider in providers.items():
        path: KeyPath = ("model_providers", name)
        if name in RESERVED_PROVIDERS:
            yield Problem(
                path, "the id of a built-in provider", "an id of your own", f"rename it, such as `{name}-custom`"
            )
        elif isinstance(provider, dict):
            yield from _provider(path, name, provider)
    chosen = merged.text("model_provider")
    known = {*providers, *BUILT_IN_PROVIDERS}
    if chosen is not None and chosen not in known:
        yield Problem(
            ("model_provider",),
            f"`{chosen}`, which is not defined",
            f"one of {', '.join(sorted(known))}",
            did_you_mean(chosen, known) or f"define [model_providers.{chosen}]",
        )


def _provider(path: KeyPath, name: str, provider: JSONObject) -> Iterator[Problem]:
    if not str(provider.get("name", "")).strip() and name not in _BEDROCK:
        yield Problem((*path, "name"), "no name", "a string that is not blank", 'add name = "..."')
    if provider.get("wire_api") == "chat":
        yield Problem(
            (*path, "wire_api"), '"chat", which is no longer supported', '"responses"', 'set wire_api = "responses"'
        )
    auth = provider.get("auth")
    if isinstance(auth, dict):
        if "env_key" in provider or "experimental_bearer_token" in provider:
            yield Problem((*path, "auth"), "both `auth` and a key", "one of them", "remove `auth` or `env_key`")
        if not str(auth.get("command", "")).strip():
            yield Problem((*path, "auth", "command"), "a blank command", "a command")
    if "aws" in provider and name not in _BEDROCK:
        yield Problem((*path, "aws"), "`aws`", f"`aws` for {' and '.join(_BEDROCK)} only")


def _threads(merged: MergedLayers) -> Iterator[Problem]:
    for path in (
        ("agents", "max_concurrent_threads_per_session"),
        ("agents", "max_threads"),
        ("features", "multi_agent_v2", "max_concurrent_threads_per_session"),
    ):
        value = merged.get(*path)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            yield Problem(path, describe(value), "an integer, at least 1")


def _mcp_servers(merged: MergedLayers) -> Iterator[Problem]:
    for name, server in merged.table("mcp_servers").items():
        if isinstance(server, dict):
            yield from mcp_problems(("mcp_servers", name), server)


def mcp_problems(path: KeyPath, server: JSONObject) -> Iterator[Problem]:
    """Return what is wrong with the transport of one `[mcp_servers.<id>]`."""
    has_command, has_url = "command" in server, "url" in server
    if has_command and has_url:
        yield Problem(
            path, "both `command` and `url`", "one of them", "url is for HTTP servers, command for stdio ones"
        )
    elif not has_command and not has_url:
        yield Problem(path, "neither `command` nor `url`", "a table with one of them")
    elif "bearer_token" in server:
        yield Problem(
            (*path, "bearer_token"), "a literal token", "the name of a variable", "use bearer_token_env_var instead"
        )
    else:
        kind = "a stdio server" if has_command else "an HTTP server"
        for key in _HTTP_ONLY if has_command else _STDIO_ONLY:
            if key in server:
                yield Problem((*path, key), f"`{key}` on {kind}", f"no `{key}` on {kind}")


def _places(merged: MergedLayers) -> Iterator[Problem]:
    for name, table in merged.table("codexteam", "mcp_servers").items():
        server = merged.get("mcp_servers", name)
        if isinstance(server, dict) and "url" in server and isinstance(table, dict) and table.get("place") == "sandbox":
            yield Problem(
                ("codexteam", "mcp_servers", name, "place"),
                "`sandbox` for a server with a `url`",
                "`host`, or no such key",
                "a server with a url is reached from outside the sandboxes; one with a command can run inside",
            )


def _hosts(merged: MergedLayers) -> Iterator[Problem]:
    path = ("codexteam", "sandbox", "allow_hosts")
    entries = merged.get(*path)
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        found = _HOST_ENTRY.fullmatch(entry) if isinstance(entry, str) else None
        if isinstance(entry, str) and (found is None or not 0 < int(found["port"] or 443) < 65_536):
            yield Problem((*path, number), describe(entry), "`host`, `*.domain` or an address, with or without `:port`")


def _files(merged: MergedLayers) -> None:
    for key in ("model_instructions_file", "experimental_compact_prompt_file"):
        path = merged.file_path(key)
        if path is not None:
            text = _text_of(merged, key, path)
            if not text.strip():
                raise ConfigError(
                    f"{merged.place((key,))}: {key}: {path} is empty", hint="write the text, or remove the key"
                )
    catalog = merged.file_path("model_catalog_json")
    if catalog is not None:
        _catalog(merged, catalog)


def _catalog(merged: MergedLayers, path: Path) -> None:
    place = f"{merged.place(('model_catalog_json',))}: model_catalog_json: {path}"
    try:
        data: JSONValue = json.loads(_text_of(merged, "model_catalog_json", path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is not JSON: {error}") from error
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, list) or not models:
        raise ConfigError(f"{place}: found no models, an object with a list `models` that is not empty is expected")


def _text_of(merged: MergedLayers, key: str, path: Path) -> str:
    content = read_bytes(path)
    if content is None:
        raise ConfigError(
            f"{merged.place((key,))}: {key}: there is no file {path}",
            hint="relative paths start from the folder of the file that names them",
        )
    return content.decode("utf-8", errors="replace")


def read_named_file(merged: MergedLayers, key: str) -> str | None:
    """Return the text of a file that a key names; None where nobody set the key."""
    path = merged.file_path(key)
    return None if path is None else _text_of(merged, key, path)
