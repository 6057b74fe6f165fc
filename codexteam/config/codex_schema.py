"""What a `config.toml` of Codex 0.169 to 0.171 may hold, as the programs themselves accept and refuse it.

What Codex refuses because it is new to it, such as an option of a feature, is a warning here: a newer Codex may know it.
"""

from collections.abc import Sequence

from codexteam.config.codex_rare_schema import (
    FLAGS,
    MULTI_AGENT_V2_COUNTS,
    MULTI_AGENT_V2_FLAGS,
    MULTI_AGENT_V2_TEXTS,
    RARE_KEYS,
    TABLES,
)
from codexteam.config.codexteam_schema import TEAM
from codexteam.config.layers import Layer, MergedLayers
from codexteam.config.schema import (
    UNKNOWN_KEY,
    Anything,
    ChoiceKind,
    Either,
    Entries,
    Flag,
    Items,
    Number,
    Problem,
    Schema,
    TableKind,
    Text,
    check,
    dotted,
    words,
)
from codexteam.errors import ConfigError

TEXT = Text()
FLAG = Flag()
COUNT = Number(low=0)
TEXTS = Items(TEXT)
TEXT_MAP = Entries(TEXT)
_ANY_NUMBER = Number(low=-1e308, high=1e308, fraction=True)

EFFORT = Text(may_be_empty=False)
SUMMARY = ChoiceKind(("auto", "concise", "detailed", "none"))
VERBOSITY = ChoiceKind(("low", "medium", "high"))
SANDBOX_MODE = ChoiceKind(("read-only", "workspace-write", "danger-full-access"))
WEB_SEARCH = ChoiceKind(("disabled", "cached", "indexed", "live"))
PERSONALITY = ChoiceKind(("none", "friendly", "pragmatic"))
REVIEWER = ChoiceKind(("user", "auto_review", "guardian_subagent"))
APPROVAL_MODE = ChoiceKind(("auto", "prompt", "writes", "approve"))

APPROVAL = Either(
    (
        ChoiceKind(("on-request", "never", "on-failure", "untrusted")),
        TableKind(
            {
                "granular": TableKind(
                    dict.fromkeys(
                        ("sandbox_approval", "rules", "mcp_elicitations", "skill_approval", "request_permissions"), FLAG
                    ),
                    others=Anything(),
                    required=("sandbox_approval", "rules", "mcp_elicitations"),
                )
            },
            required=("granular",),
        ),
    )
)

PROVIDER = TableKind(
    {
        "name": TEXT,
        "base_url": TEXT,
        "env_key": TEXT,
        "env_key_instructions": TEXT,
        "experimental_bearer_token": TEXT,
        "wire_api": ChoiceKind(("responses", "chat")),
        "query_params": TEXT_MAP,
        "http_headers": TEXT_MAP,
        "env_http_headers": TEXT_MAP,
        "request_max_retries": COUNT,
        "stream_max_retries": COUNT,
        "stream_idle_timeout_ms": COUNT,
        "websocket_connect_timeout_ms": COUNT,
        "requires_openai_auth": FLAG,
        "supports_websockets": FLAG,
        "supports_standalone_web_search": FLAG,
        "auth": TableKind(
            {
                "command": TEXT,
                "args": TEXTS,
                "cwd": TEXT,
                "timeout_ms": Number(low=1),
                "refresh_interval_ms": COUNT,
            },
            required=("command",),
        ),
        "aws": TableKind({}, others=Anything()),
        "gateway_oauth": TableKind({}, others=Anything()),
        "capabilities": TableKind({}, others=Anything()),
        "model_catalog_url": TEXT,
        "location": TEXT,
    }
)

MCP_SERVER = TableKind(
    {
        "command": TEXT,
        "args": TEXTS,
        "env": TEXT_MAP,
        "env_vars": Items(Either((TEXT, TableKind({"name": TEXT, "source": TEXT}, required=("name",))))),
        "cwd": TEXT,
        "url": TEXT,
        "bearer_token": TEXT,
        "bearer_token_env_var": TEXT,
        "http_headers": TEXT_MAP,
        "env_http_headers": TEXT_MAP,
        "http_headers_helper": TEXT,
        "auth": ChoiceKind(("oauth", "chatgpt")),
        "oauth": TableKind(
            {
                "client_id": TEXT,
                "client_secret": TEXT,
                "token_endpoint_auth_method": ChoiceKind(("client_secret_basic", "client_secret_post")),
                "callback_url": TEXT,
                "callback_port": Number(0, 65_535),
                "authorization_server_issuer": TEXT,
            }
        ),
        "oauth_resource": TEXT,
        "scopes": TEXTS,
        "enabled": FLAG,
        "required": FLAG,
        "startup_timeout_sec": Number(low=0, fraction=True),
        "startup_timeout_ms": COUNT,
        "tool_timeout_sec": Number(low=0, fraction=True),
        "startup_readiness": ChoiceKind(("connection", "catalog")),
        "enabled_tools": TEXTS,
        "disabled_tools": TEXTS,
        "supports_parallel_tool_calls": FLAG,
        "default_tools_approval_mode": APPROVAL_MODE,
        "tools": Entries(TableKind({"approval_mode": APPROVAL_MODE, "output_token_limit": Number(low=1)})),
        "tool_input_schema_max_bytes": Number(low=1),
        "omit_tools_from": Items(ChoiceKind(("code_mode", "deferred", "direct"))),
        "environment_id": TEXT,
        "name": TEXT,
    }
)

ROLE_TABLE = TableKind(
    {"description": TEXT, "config_file": TEXT, "nickname_candidates": TEXTS},
    others=Anything(),  # Codex drops what else a role's table holds in silence
)

AGENTS = TableKind(
    {
        "enabled": FLAG,
        "max_concurrent_threads_per_session": COUNT,
        "max_threads": COUNT,
        "max_depth": Number(-(2**31), 2**31 - 1),
        "default_subagent_model": TEXT,
        "default_subagent_reasoning_effort": EFFORT,
        "job_max_runtime_seconds": COUNT,
        "interrupt_message": FLAG,
    },
    others=ROLE_TABLE,
)

MULTI_AGENT_V2 = TableKind(
    {
        **dict.fromkeys(MULTI_AGENT_V2_FLAGS, FLAG),
        **dict.fromkeys(MULTI_AGENT_V2_COUNTS, Number()),
        **dict.fromkeys(MULTI_AGENT_V2_TEXTS, TEXT),
        "message_board_remote": Anything(),
    },
    closed=True,
    # options of `[agents]` and of the other features that are often written here
    misplaced=frozenset(AGENTS.keys) - {*MULTI_AGENT_V2_FLAGS, *MULTI_AGENT_V2_COUNTS},
)

ROLLOUT_BUDGET = TableKind(
    {
        **dict.fromkeys(("enabled", "enforce_limit", "reminder_at_context_start"), FLAG),
        "limit_tokens": Number(),
        **dict.fromkeys(("limit_budget", "sampling_token_weight", "prefill_token_weight"), _ANY_NUMBER),
        "reminder_at_remaining_tokens": Items(Number()),
    },
)

TOKEN_BUDGET = TableKind(
    {
        **dict.fromkeys(("enabled", "use_history_notes_extension", "context_window_as_tool_output"), FLAG),
        **dict.fromkeys(("reminder_threshold_tokens", "auto_compact_fallback_buffer_tokens"), Number()),
        **dict.fromkeys(("reminder_message_template", "auto_compact_fallback_prompt"), TEXT),
    },
)

FEATURES = TableKind(
    {
        **dict.fromkeys(FLAGS, FLAG),
        **{name: Either((FLAG, TableKind({}, others=Anything()))) for name in TABLES},
        "multi_agent_v2": Either((FLAG, MULTI_AGENT_V2)),
        "rollout_budget": Either((FLAG, ROLLOUT_BUDGET)),
        "token_budget": Either((FLAG, TOKEN_BUDGET)),
    },
    unknown=FLAG,
)

FILE_ACCESS = ChoiceKind(("read", "write", "none", "deny"))

PERMISSIONS = Entries(
    TableKind(
        {
            "description": TEXT,
            "extends": TEXT,
            "workspace_roots": Entries(FLAG),
            "filesystem": TableKind({"glob_scan_max_depth": COUNT}, others=Either((FILE_ACCESS, Entries(FILE_ACCESS)))),
            "network": TableKind({"enabled": FLAG}, others=Anything()),
        }
    )
)

SHELL_ENVIRONMENT = TableKind(
    {
        "inherit": ChoiceKind(("core", "all", "none")),
        "ignore_default_excludes": FLAG,
        "exclude": TEXTS,
        "set": TEXT_MAP,
        "include_only": TEXTS,
        "filters": Entries(ChoiceKind(("include", "exclude"))),
        "experimental_use_profile": FLAG,
    }
)

SKILLS = TableKind(
    {
        "include_instructions": FLAG,
        "max_context_tokens": Number(low=1),
        "bundled": TableKind({"enabled": FLAG}),
        "config": Items(TableKind({"name": TEXT, "path": TEXT, "enabled": FLAG}, required=("enabled",))),
    }
)

TOOLS = TableKind(
    {
        "web_search": Either((FLAG, TableKind({}, others=Anything()))),
        "update_plan": TableKind({"enabled": FLAG}),
        "experimental_request_user_input": TableKind({"enabled": FLAG}),
        "client_search_provider": ChoiceKind(("standalone", "search_mcp")),
    }
)

#: What a legacy `[profiles.<name>]` table may hold: it is checked, and not used.
_PROFILE: dict[str, Schema] = {
    "model": TEXT,
    "model_provider": TEXT,
    "model_reasoning_effort": EFFORT,
    "plan_mode_reasoning_effort": EFFORT,
    "model_reasoning_summary": SUMMARY,
    "model_verbosity": VERBOSITY,
    "model_catalog_json": TEXT,
    "model_instructions_file": TEXT,
    "approval_policy": APPROVAL,
    "approvals_reviewer": REVIEWER,
    "sandbox_mode": SANDBOX_MODE,
    "service_tier": TEXT,
    "personality": PERSONALITY,
    "chatgpt_base_url": TEXT,
    "web_search": WEB_SEARCH,
    "oss_provider": TEXT,
    "experimental_compact_prompt_file": TEXT,
    "experimental_use_unified_exec_tool": FLAG,
    "include_permissions_instructions": FLAG,
    "include_apps_instructions": FLAG,
    "include_collaboration_mode_instructions": FLAG,
    "include_environment_context": FLAG,
    "js_repl_node_path": TEXT,
    "js_repl_node_module_dirs": TEXTS,
    "features": FEATURES,
    "tools": TOOLS,
    "analytics": TableKind({"enabled": FLAG}),
    "tui": TableKind({}, others=Anything()),
    "windows": TableKind({}, others=Anything()),
}

_KEYS: dict[str, Schema] = {
    **RARE_KEYS,
    "model": TEXT,
    "review_model": TEXT,
    "model_provider": TEXT,
    "model_context_window": Number(),
    "model_auto_compact_token_limit": Number(),
    "model_auto_compact_token_limit_scope": ChoiceKind(("total", "body_after_prefix")),
    "model_post_turn_compact_threshold_percent": Number(0, 100),
    "model_reasoning_effort": EFFORT,
    "plan_mode_reasoning_effort": EFFORT,
    "model_reasoning_summary": SUMMARY,
    "model_verbosity": VERBOSITY,
    "model_catalog_json": TEXT,
    "model_instructions_file": TEXT,
    "developer_instructions": TEXT,
    "instructions": TEXT,
    "compact_prompt": TEXT,
    "experimental_compact_prompt_file": TEXT,
    "service_tier": TEXT,
    "personality": PERSONALITY,
    "web_search": WEB_SEARCH,
    "approval_policy": APPROVAL,
    "approvals_reviewer": REVIEWER,
    "sandbox_mode": SANDBOX_MODE,
    "sandbox_workspace_write": TableKind(
        {
            "writable_roots": TEXTS,
            "network_access": FLAG,
            "exclude_tmpdir_env_var": FLAG,
            "exclude_slash_tmp": FLAG,
        }
    ),
    "default_permissions": TEXT,
    "permissions": PERMISSIONS,
    "allow_login_shell": FLAG,
    "shell_environment_policy": SHELL_ENVIRONMENT,
    "model_providers": Entries(PROVIDER),
    "openai_base_url": TEXT,
    "chatgpt_base_url": TEXT,
    "oss_provider": TEXT,
    "mcp_servers": Entries(MCP_SERVER),
    "features": FEATURES,
    "agents": AGENTS,
    "project_doc_max_bytes": COUNT,
    "project_doc_fallback_filenames": TEXTS,
    "project_root_markers": TEXTS,
    "projects": Entries(TableKind({"trust_level": ChoiceKind(("trusted", "untrusted"))})),
    "skills": SKILLS,
    "tools": TOOLS,
    "tool_output_token_limit": COUNT,
    "background_terminal_max_timeout": COUNT,
    "responses_api_metadata": TEXT_MAP,
    "profile": TEXT,
    "profiles": Entries(TableKind(_PROFILE)),
    "goals": TableKind({"max_goal_token_budget": Number(low=1)}),
    "hooks": TableKind(
        {"state": Entries(Anything())},
        others=Items(
            TableKind(
                {
                    "matcher": TEXT,
                    "hooks": Items(
                        TableKind({"type": ChoiceKind(("command", "mcp_tool", "prompt", "agent"))}, others=Anything())
                    ),
                },
                others=Anything(),
            )
        ),
    ),
}

#: Codex's keys.
CODEX = TableKind(_KEYS)

#: Codex's keys and codexteam's own table.
CONFIG = TableKind({**_KEYS, "codexteam": TEAM})

#: A role file: all keys of a configuration, and the role's own. Codex leaves out a role with a key that it does not know.
ROLE_FILE = TableKind({**_KEYS, "name": TEXT, "description": TEXT, "nickname_candidates": TEXTS})

#: What codexteam acts on: the first keys of a path. Everything else is accepted and not used.
USED_KEYS: frozenset[str] = frozenset(
    words("""
model model_provider model_context_window model_auto_compact_token_limit model_reasoning_effort
model_reasoning_summary model_verbosity developer_instructions compact_prompt experimental_compact_prompt_file
service_tier web_search sandbox_mode sandbox_workspace_write.network_access default_permissions permissions
shell_environment_policy.exclude shell_environment_policy.set
shell_environment_policy.include_only model_providers openai_base_url oss_provider mcp_servers features.shell_tool
agents project_doc_max_bytes project_doc_fallback_filenames project_root_markers projects skills.include_instructions
skills.bundled skills.config tools.update_plan tool_output_token_limit notify tui.notifications
tui.notification_method otel codexteam
""")
)

#: Parts of used tables that codexteam does not act on.
UNUSED_KEYS: frozenset[str] = frozenset(
    words("""
agents.enabled agents.max_depth agents.job_max_runtime_seconds agents.interrupt_message
otel.exporter otel.log_agent_responses otel.log_guardian_assessments otel.log_sse_deltas otel.headers_helper
otel.headers_helper_refresh_interval_ms otel.tool_result otel.tracestate
""")
)


#: The most problems in one message.
_SHOWN = 20


def refuse(places: Sequence[tuple[str, Problem]]) -> ConfigError:
    """Return the error for problems and where each stands: file, line, key, found, allowed, and what to do."""
    lines = [line(place, problem) for place, problem in places[:_SHOWN]]
    if len(places) > _SHOWN:
        lines.append(f"... and {len(places) - _SHOWN} more")
    hints = dict.fromkeys(problem.hint for _, problem in places if problem.hint)
    return ConfigError("\n".join(lines), hint="; ".join(hints))


def key_at(place: str, key: str) -> str:
    """Return a key with its place, once where the place is the flag `-c KEY`."""
    return place if place == f"-c {key}" else f"{place}: {key}"


def line(place: str, problem: Problem) -> str:
    """Return a problem as one line: file, line, key, what was found, what is allowed."""
    where = key_at(place, dotted(problem.path))
    if problem.found == UNKNOWN_KEY:
        return f"{where}: {UNKNOWN_KEY}"
    return f"{where}: found {problem.found}; allowed: {problem.allowed}"


def check_types(merged: MergedLayers) -> None:
    """Check the merged values against the schema, as Codex does: values that a higher layer replaced are not checked.

    Raises:
        ConfigError: Types, words or ranges are wrong; every one of them is named.
    """
    found = check(merged.values, CONFIG).problems
    if found:
        raise refuse([(merged.place(problem.path), problem) for problem in found])


def unknown_keys(layers: Sequence[Layer]) -> list[tuple[str, Problem]]:
    """Return the keys that neither Codex nor codexteam knows, with their places."""
    return [(layer.place(problem.path), problem) for layer in layers for problem in check(layer.values, CONFIG).unknown]


def unknown_notice(place: str, problem: Problem) -> str:
    """Return the warning about an unknown key."""
    guess = f"; {problem.hint}" if problem.hint else ""
    return f"{place}: `{dotted(problem.path)}` is not known and ignored{guess}"
