"""What a `config.toml` of Codex 0.169 may hold, as the program itself accepts and refuses it."""

from codexteam.config.codex_features import (
    FLAGS,
    MULTI_AGENT_V2_COUNTS,
    MULTI_AGENT_V2_FLAGS,
    MULTI_AGENT_V2_TEXTS,
    TABLES,
)
from codexteam.config.codex_rare_schema import RARE_KEYS
from codexteam.config.schema import Anything, Choice, Either, Entries, Flag, Items, Number, Schema, Table, Text, words
from codexteam.config.team_schema import TEAM

TEXT = Text()
FLAG = Flag()
COUNT = Number(low=0)
TEXTS = Items(TEXT)
TEXT_MAP = Entries(TEXT)

EFFORT = Text(may_be_empty=False)
SUMMARY = Choice(("auto", "concise", "detailed", "none"))
VERBOSITY = Choice(("low", "medium", "high"))
SANDBOX_MODE = Choice(("read-only", "workspace-write", "danger-full-access"))
WEB_SEARCH = Choice(("disabled", "cached", "indexed", "live"))
PERSONALITY = Choice(("none", "friendly", "pragmatic"))
REVIEWER = Choice(("user", "auto_review", "guardian_subagent"))
APPROVAL_MODE = Choice(("auto", "prompt", "writes", "approve"))

APPROVAL = Either(
    (
        Choice(("on-request", "never", "on-failure", "untrusted")),
        Table(
            {
                "granular": Table(
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

PROVIDER = Table(
    {
        "name": TEXT,
        "base_url": TEXT,
        "env_key": TEXT,
        "env_key_instructions": TEXT,
        "experimental_bearer_token": TEXT,
        "wire_api": Choice(("responses", "chat")),
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
        "auth": Table(
            {
                "command": TEXT,
                "args": TEXTS,
                "cwd": TEXT,
                "timeout_ms": Number(low=1),
                "refresh_interval_ms": COUNT,
            },
            required=("command",),
        ),
        "aws": Table({}, others=Anything()),
        "gateway_oauth": Table({}, others=Anything()),
        "capabilities": Table({}, others=Anything()),
        "model_catalog_url": TEXT,
        "location": TEXT,
    }
)

MCP_SERVER = Table(
    {
        "command": TEXT,
        "args": TEXTS,
        "env": TEXT_MAP,
        "env_vars": Items(Either((TEXT, Table({"name": TEXT, "source": TEXT}, required=("name",))))),
        "cwd": TEXT,
        "url": TEXT,
        "bearer_token": TEXT,
        "bearer_token_env_var": TEXT,
        "http_headers": TEXT_MAP,
        "env_http_headers": TEXT_MAP,
        "http_headers_helper": TEXT,
        "auth": Choice(("oauth", "chatgpt")),
        "oauth": Table(
            {
                "client_id": TEXT,
                "client_secret": TEXT,
                "token_endpoint_auth_method": Choice(("client_secret_basic", "client_secret_post")),
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
        "startup_readiness": Choice(("connection", "catalog")),
        "enabled_tools": TEXTS,
        "disabled_tools": TEXTS,
        "supports_parallel_tool_calls": FLAG,
        "default_tools_approval_mode": APPROVAL_MODE,
        "tools": Entries(Table({"approval_mode": APPROVAL_MODE, "output_token_limit": Number(low=1)})),
        "tool_input_schema_max_bytes": Number(low=1),
        "omit_tools_from": Items(Choice(("code_mode", "deferred", "direct"))),
        "environment_id": TEXT,
        "name": TEXT,
    }
)

ROLE_TABLE = Table(
    {"description": TEXT, "config_file": TEXT, "nickname_candidates": TEXTS},
    others=Anything(),  # Codex drops what else a role's table holds in silence
)

AGENTS = Table(
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

MULTI_AGENT_V2 = Table(
    {
        **dict.fromkeys(MULTI_AGENT_V2_FLAGS, FLAG),
        **dict.fromkeys(MULTI_AGENT_V2_COUNTS, Number()),
        **dict.fromkeys(MULTI_AGENT_V2_TEXTS, TEXT),
        "message_board_remote": Anything(),
    },
    closed=True,
)

FEATURES = Table(
    {
        **dict.fromkeys(FLAGS, FLAG),
        **{name: Either((FLAG, Table({}, others=Anything()))) for name in TABLES},
        "multi_agent_v2": Either((FLAG, MULTI_AGENT_V2)),
    },
    unknown=FLAG,
)

FILE_ACCESS = Choice(("read", "write", "none", "deny"))

PERMISSIONS = Entries(
    Table(
        {
            "description": TEXT,
            "extends": TEXT,
            "workspace_roots": Entries(FLAG),
            "filesystem": Table({"glob_scan_max_depth": COUNT}, others=Either((FILE_ACCESS, Entries(FILE_ACCESS)))),
            "network": Table({"enabled": FLAG}, others=Anything()),
        }
    )
)

SHELL_ENVIRONMENT = Table(
    {
        "inherit": Choice(("core", "all", "none")),
        "ignore_default_excludes": FLAG,
        "exclude": TEXTS,
        "set": TEXT_MAP,
        "include_only": TEXTS,
        "filters": Entries(Choice(("include", "exclude"))),
        "experimental_use_profile": FLAG,
    }
)

SKILLS = Table(
    {
        "include_instructions": FLAG,
        "max_context_tokens": Number(low=1),
        "bundled": Table({"enabled": FLAG}),
        "config": Items(Table({"name": TEXT, "path": TEXT, "enabled": FLAG}, required=("enabled",))),
    }
)

TOOLS = Table(
    {
        "web_search": Either((FLAG, Table({}, others=Anything()))),
        "update_plan": Table({"enabled": FLAG}),
        "experimental_request_user_input": Table({"enabled": FLAG}),
        "client_search_provider": Choice(("standalone", "search_mcp")),
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
    "analytics": Table({"enabled": FLAG}),
    "tui": Table({}, others=Anything()),
    "windows": Table({}, others=Anything()),
}

_KEYS: dict[str, Schema] = {
    **RARE_KEYS,
    "model": TEXT,
    "review_model": TEXT,
    "model_provider": TEXT,
    "model_context_window": Number(),
    "model_auto_compact_token_limit": Number(),
    "model_auto_compact_token_limit_scope": Choice(("total", "body_after_prefix")),
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
    "sandbox_workspace_write": Table(
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
    "projects": Entries(Table({"trust_level": Choice(("trusted", "untrusted"))})),
    "skills": SKILLS,
    "tools": TOOLS,
    "tool_output_token_limit": COUNT,
    "background_terminal_max_timeout": COUNT,
    "responses_api_metadata": TEXT_MAP,
    "profile": TEXT,
    "profiles": Entries(Table(_PROFILE)),
    "goals": Table({"max_goal_token_budget": Number(low=1)}),
    "hooks": Table(
        {"state": Entries(Anything())},
        others=Items(
            Table(
                {
                    "matcher": TEXT,
                    "hooks": Items(
                        Table({"type": Choice(("command", "mcp_tool", "prompt", "agent"))}, others=Anything())
                    ),
                },
                others=Anything(),
            )
        ),
    ),
}

#: Codex's keys.
CODEX = Table(_KEYS)

#: Codex's keys and codexteam's own table.
CONFIG = Table({**_KEYS, "codexteam": TEAM})

#: A role file: all keys of a configuration, read strictly, and the role's own.
ROLE_FILE = Table({**_KEYS, "name": TEXT, "description": TEXT, "nickname_candidates": TEXTS}, closed=True)

#: What codexteam acts on: the first keys of a path. Everything else is accepted and not used.
USED_KEYS: frozenset[str] = frozenset(
    words("""
model model_provider model_context_window model_auto_compact_token_limit model_reasoning_effort
model_reasoning_summary model_verbosity developer_instructions compact_prompt experimental_compact_prompt_file
service_tier web_search sandbox_mode sandbox_workspace_write.network_access default_permissions permissions
shell_environment_policy.exclude shell_environment_policy.set
shell_environment_policy.include_only model_providers openai_base_url oss_provider mcp_servers features.shell_tool
agents project_doc_max_bytes project_doc_fallback_filenames project_root_markers projects skills.include_instructions
skills.bundled skills.config tools.update_plan tool_output_token_limit codexteam
""")
)

#: Parts of used tables that codexteam does not act on.
UNUSED_KEYS: frozenset[str] = frozenset(
    words("""
agents.enabled agents.max_depth agents.job_max_runtime_seconds agents.interrupt_message
""")
)
