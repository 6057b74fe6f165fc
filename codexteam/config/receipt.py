"""The receipt: what an agent of a role is started with, and where each part of it comes from. Pure."""

import hashlib

from codexteam.config.price_list import price_list, rate_json, rate_words
from codexteam.config.settings import McpServerSettings, RoleSettings, SandboxMode, Settings
from codexteam.config.team import AgentEngine, engine_of
from codexteam.core.ids import GateName, JSONObject, JSONValue

#: Grows when a field changes its meaning or goes away. Since 2 an `origin` is a place that has the value in these words;
#: `asked` is what was asked for in other words or in vain, `capped_by` what kept it from counting.
RECEIPT_SCHEMA = 2
_BUILT_IN = "built-in"
_JUDGES = frozenset(gate.value for gate in GateName)


def receipt(role: RoleSettings, settings: Settings) -> JSONObject:
    """Return the receipt of a role as configured; the run adds what the sandbox really is.

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
        **_engine(role, settings),
        "provider": _value(role, "model_provider", model.provider_id),
        "model": _value(role, "model", model.model),
        "effort": _value(role, "model_reasoning_effort", model.effort),
        "summary": _value(role, "model_reasoning_summary", model.summary),
        "verbosity": _value(role, "model_verbosity", model.verbosity),
        "service_tier": _value(role, "service_tier", model.service_tier),
        "price": _price(model.model, settings),
        "web_search": _value(role, "web_search", model.web_search),
        "sandbox": _value(role, "sandbox_mode", role.sandbox_mode.value),
        "network": {
            "value": role.network.kind.value,
            "hosts": list(role.network.hosts),
            **_origin_fields(role, "sandbox_workspace_write"),
        },
        "shell": _value(role, "features.shell_tool", role.shell_tool),
        "tools": _tools(role, settings),
        "mcp_servers": [
            _server(role, settings.mcp_servers[name]) for name in role.mcp_servers if name in settings.mcp_servers
        ],
        "skills": {
            "include_instructions": _value(role, "skills.include_instructions", role.skills.include_instructions),
            "bundled": _value(role, "skills.bundled.enabled", role.skills.bundled_enabled),
            "overrides": [
                {
                    "skill": str(override.path) if override.path is not None else override.name,
                    "enabled": override.enabled,
                    "origin": override.place,
                }
                for override in role.skills.overrides
            ],
        },
    }


def _engine(role: RoleSettings, settings: Settings) -> JSONObject:
    chosen = engine_of(role, settings)
    found: JSONObject = {"engine": {"value": chosen.engine.value, "origin": chosen.why}}
    if chosen.engine is AgentEngine.CODEX:  # it asks by itself, and is stopped once it has passed what was reserved
        found["budget"] = {"value": "metered: one request over at most", "origin": "engine codex"}
    return found


def tool_names(role: RoleSettings, settings: Settings) -> tuple[str, ...]:
    """Return the names of a role's own tools, MCP left out: who may not write is not offered `apply_patch`."""
    return (
        *(("exec_command", "write_stdin") if role.shell_tool else ()),
        *(("apply_patch",) if role.sandbox_mode is not SandboxMode.READ_ONLY else ()),
        "view_image",
        *(("leave_note",) if _works(role) else ()),
        *(("look_up",) if _may_ask(role, settings) else ()),
        *(("search_code",) if settings.team.map.enabled else ()),
        *(("update_plan",) if settings.update_plan_tool else ()),
    )


def _works(role: RoleSettings) -> bool:
    """Return whether a role works on tasks; judges write tests, and report findings."""
    return role.sandbox_mode is not SandboxMode.READ_ONLY and role.name not in _JUDGES


def _may_ask(role: RoleSettings, settings: Settings) -> bool:
    limits = settings.team.limits
    return _works(role) and bool(limits.max_lookups and limits.max_scouts)


def _price(model: str, settings: Settings) -> JSONObject:
    prices = price_list(settings)
    rate = prices.get(model)
    return {"value": rate_words(rate), "origin": prices.origin(model), **rate_json(rate)}


def _tools(role: RoleSettings, settings: Settings) -> list[JSONValue]:
    """Return the tools. They are the program's own; what a file said for or against one is `asked`."""
    decided_by = {
        "exec_command": "features.shell_tool",
        "write_stdin": "features.shell_tool",
        "apply_patch": "sandbox_mode",
        "leave_note": "sandbox_mode",
        "look_up": "codexteam.limits.max_lookups",
        "search_code": "codexteam.map.enabled",
        "update_plan": "tools.update_plan",
    }
    return [_tool(role, name, decided_by.get(name, "")) for name in tool_names(role, settings)]


def _tool(role: RoleSettings, name: str, key: str) -> JSONObject:
    fields = _origin_fields(role, key)
    place = fields.pop("origin")
    if place != _BUILT_IN and "asked" not in fields:
        fields["asked"] = {"key": key, "origin": place}
    return {"name": name, "origin": _BUILT_IN, **fields}


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
        "place": server.place.value,
        "required": server.required,
        "enabled_tools": None if server.enabled_tools is None else list(server.enabled_tools),
        "disabled_tools": list(server.disabled_tools),
        "origin": _origin(role, f"mcp_servers.{server.id}", "mcp_servers"),
    }


def _value(role: RoleSettings, key: str, value: JSONValue) -> JSONObject:
    return {"value": value, **_origin_fields(role, key)}


def _origin_fields(role: RoleSettings, key: str) -> JSONObject:
    found: JSONObject = {"origin": _origin(role, key)}
    for name, stated in (("asked", role.asked.get(key)), ("capped_by", role.capped_by.get(key))):
        if stated is not None:
            found[name] = {"key": stated.key, "value": stated.value, "origin": stated.place}
    return found


def _origin(role: RoleSettings, *keys: str) -> str:
    return next((role.origins[key] for key in keys if key in role.origins), _BUILT_IN)
