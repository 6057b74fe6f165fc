"""The receipt: what an agent of a role is started with, and where each part of it comes from. Pure."""

import hashlib

from codexteam.config.settings import McpServerSettings, RoleSettings, SandboxMode, Settings
from codexteam.core.json_types import JSONObject, JSONValue

#: Grows when a field changes its meaning or goes away.
RECEIPT_SCHEMA = 1


def receipt(role: RoleSettings, settings: Settings) -> JSONObject:
    """Give the receipt of a role as configured; the run adds what the sandbox really is.

    No secret is in it: of an MCP server it names transport, command or host, and the names of variables.
    """
    model = role.model
    return {
        "schema": RECEIPT_SCHEMA,
        "role": role.name,
        "description": role.description,
        "role_file": {"path": role.source, "sha256": role.source_hash},
        "instructions": {
            "sha256": hashlib.sha256(role.instructions.encode()).hexdigest(),
            "bytes": len(role.instructions.encode()),
            "origin": _origin(role, "developer_instructions"),
        },
        "provider": _value(role, "model_provider", model.provider_id),
        "model": _value(role, "model", model.model),
        "effort": _value(role, "model_reasoning_effort", model.effort),
        "summary": _value(role, "model_reasoning_summary", model.summary),
        "verbosity": _value(role, "model_verbosity", model.verbosity),
        "service_tier": _value(role, "service_tier", model.service_tier),
        "web_search": _value(role, "web_search", model.web_search),
        "sandbox": _value(role, "sandbox_mode", role.sandbox_mode.value),
        "network": {
            "value": role.network.kind.value,
            "hosts": list(role.network.hosts),
            "origin": _origin(role, "sandbox_workspace_write"),
        },
        "tools": _tools(role, settings),
        "mcp_servers": [
            _server(role, settings.mcp_servers[name]) for name in role.mcp_servers if name in settings.mcp_servers
        ],
        "skills": {
            "include_instructions": role.skills.include_instructions,
            "bundled": role.skills.bundled_enabled,
            "overrides": [
                {
                    "skill": str(override.path) if override.path is not None else override.name,
                    "enabled": override.enabled,
                }
                for override in role.skills.overrides
            ],
            "origin": _origin(role, "skills"),
        },
    }


def tool_names(role: RoleSettings, settings: Settings) -> tuple[str, ...]:
    """Give the names of a role's own tools, MCP left out: who may not write is not offered `apply_patch`."""
    return (
        *(("exec_command", "write_stdin") if role.shell_tool else ()),
        *(("apply_patch",) if role.sandbox_mode is not SandboxMode.READ_ONLY else ()),
        "view_image",
        *(("update_plan",) if settings.update_plan_tool else ()),
    )


def _tools(role: RoleSettings, settings: Settings) -> list[JSONValue]:
    origins = {
        "exec_command": "features.shell_tool",
        "write_stdin": "features.shell_tool",
        "apply_patch": "sandbox_mode",
        "update_plan": "tools.update_plan",
    }
    return [{"name": name, "origin": _origin(role, origins.get(name, ""))} for name in tool_names(role, settings)]


def _server(role: RoleSettings, server: McpServerSettings) -> JSONObject:
    from urllib.parse import urlsplit

    where = server.command or ""
    if server.url is not None:
        # path and query may carry a key
        parts = urlsplit(server.url)
        where = f"{parts.scheme}://{parts.hostname or ''}"
    return {
        "id": server.id,
        "transport": "stdio" if server.url is None else "http",
        "where": where,
        "required": server.required,
        "enabled_tools": None if server.enabled_tools is None else list(server.enabled_tools),
        "disabled_tools": list(server.disabled_tools),
        "origin": _origin(role, f"mcp_servers.{server.id}", "mcp_servers"),
    }


def _value(role: RoleSettings, key: str, value: JSONValue) -> JSONObject:
    return {"value": value, "origin": _origin(role, key)}


def _origin(role: RoleSettings, *keys: str) -> str:
    return next((role.origins[key] for key in keys if key in role.origins), "built-in")
