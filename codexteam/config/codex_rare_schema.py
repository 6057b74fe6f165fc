"""The keys of Codex's `config.toml` that have to do with its own screen, account and services: checked, not used."""

from dataclasses import replace

from codexteam.config.schema import Anything, Choice, Either, Entries, Flag, Items, Number, Schema, Table, Text, words

_TEXT = Text()
_FLAG = Flag()
_COUNT = Number(low=0)
_CHANNEL = Number(1, 65_535)
_OPEN = Table({}, others=Anything())
_BOOL_TABLE = Table({"enabled": _FLAG})

_OTLP = Table(
    {
        "endpoint": _TEXT,
        "headers": Entries(_TEXT),
        "protocol": Choice(("binary", "json")),
        "tls": Entries(_TEXT),
    },
    required=("endpoint",),
)
_OTLP_HTTP = replace(_OTLP, required=("endpoint", "protocol"))
_EXPORTER = Either(
    (
        Choice(("none", "statsig", "otlp-http", "otlp-grpc")),
        Table({"otlp-http": _OTLP_HTTP, "otlp-grpc": _OTLP}, closed=True),
    )
)

_IDP = Table(
    {"issuer": _TEXT, "client_id": _TEXT, "client_secret": _TEXT, "token_endpoint_auth_method": _TEXT},
    required=("issuer", "client_id"),
    closed=True,
)

_VOICES = words(
    """
alloy arbor ash aube ballad breeze bubbie cedar coral cove echo ember haetsal hanul himari juniper leher maple marin
miko neer porto rindo rio rivage sage selva shimmer sol sonna spruce tinta vale verse viola
"""
)

_TUI: dict[str, Schema] = {
    **dict.fromkeys(
        words(
            "animations auto_recap collapse_turn_details copy_on_select_clear_selection disable_paste_burst "
            "fullscreen_transcript question_esc_back raw_output_mode screen_reader_detection_done show_tooltips "
            "show_server_version_notice status_line_use_colors vim_mode_default"
        ),
        _FLAG,
    ),
    "agents_overview_grouping": Choice(("project", "status", "model")),
    "alternate_screen": Choice(("auto", "always", "never")),
    "copy_on_select": Choice(("auto", "always", "never")),
    "default_hosts": Entries(Entries(_TEXT)),
    "effects": _OPEN,
    "keymap": _OPEN,
    "model_availability_nux": Entries(_COUNT),
    "mouse_scroll_speed": Number(low=5e-324, high=1e308, fraction=True),
    "notifications": Either((_FLAG, Items(_TEXT))),
    "notification_method": Choice(("auto", "osc9", "osc777", "bel")),
    "notification_condition": Choice(("unfocused", "always")),
    "pet": _TEXT,
    "pet_anchor": Choice(("composer", "screen-bottom")),
    "presets": Entries(Table({"input": _TEXT}, others=Anything(), required=("input",))),
    "rendering": _OPEN,
    "resume_cwd": Choice(("current", "session")),
    "right_click_paste": Choice(("auto", "on", "off")),
    "session_picker_view": Choice(("comfortable", "dense")),
    "sidebar_width_percent": Number(0, 255),
    "status_line": Items(_TEXT),
    "terminal_resize_reflow_max_rows": _COUNT,
    "terminal_title": Items(_TEXT),
    "theme": _TEXT,
}

_NOTICE: dict[str, Schema] = {
    **dict.fromkeys(
        words(
            "fast_default_opt_out hide_full_access_warning hide_gov_cloud_guidance "
            "hide_gpt-5.1-codex-max_migration_prompt hide_gpt5_1_migration_prompt hide_rate_limit_model_nudge "
            "hide_world_writable_warning"
        ),
        _FLAG,
    ),
    "external_config_migration_prompts": Table(
        {
            "home": _FLAG,
            "home_last_prompted_at": Number(),
            "projects": Entries(_FLAG),
            "project_last_prompted_at": Entries(Number()),
        }
    ),
    "model_migrations": Entries(_TEXT),
}

_MEMORIES: dict[str, Schema] = {
    **dict.fromkeys(
        words(
            "dedicated_tools disable_on_external_context dual_write generate_memories use_memories "
            "no_memories_if_mcp_or_web_search"
        ),
        _FLAG,
    ),
    **dict.fromkeys(("consolidation_model", "consolidation_service_tier", "extract_model"), _TEXT),
    **dict.fromkeys(("max_raw_memories_for_consolidation", "max_rollouts_per_startup"), _COUNT),
    **dict.fromkeys(
        ("max_rollout_age_days", "max_unused_days", "min_rate_limit_remaining_percent", "min_rollout_idle_hours"),
        Number(),
    ),
    "version": Choice(("v1", "v2")),
}

RARE_KEYS: dict[str, Schema] = {
    **dict.fromkeys(
        words(
            "daybreak allow_symlinked_codex_home include_permissions_instructions include_apps_instructions "
            "include_collaboration_mode_instructions include_environment_context include_environment_context_time "
            "hide_agent_reasoning show_raw_agent_reasoning suppress_unstable_features_warning "
            "check_for_update_on_startup disable_paste_burst experimental_use_unified_exec_tool"
        ),
        _FLAG,
    ),
    **dict.fromkeys(
        words(
            "mcp_oauth_callback_url js_repl_node_path sqlite_home log_dir apps_mcp_product_sku "
            "experimental_realtime_ws_base_url experimental_realtime_webrtc_call_base_url "
            "experimental_realtime_ws_model experimental_realtime_ws_backend_prompt "
            "experimental_realtime_ws_startup_context experimental_realtime_start_instructions "
            "experimental_thread_store_endpoint"
        ),
        _TEXT,
    ),
    **dict.fromkeys(("mcp_optional_startup_grace_ms", "thread_unload_delay_secs"), _COUNT),
    **dict.fromkeys(("analytics", "feedback"), _BOOL_TABLE),
    **dict.fromkeys(("orchestrator", "cloud"), Table({"skills": _BOOL_TABLE})),
    **dict.fromkeys(("notify", "js_repl_node_module_dirs"), Items(_TEXT)),
    "apps": Entries(_OPEN),
    "audio": Table({"microphone": _TEXT, "microphone_channel": Either((_CHANNEL, Items(_CHANNEL))), "speaker": _TEXT}),
    "auto_review": Table(
        {"circuit_break_action": Choice(("default", "strict")), "policy": _TEXT, "timeout_ms": Number(0, 2**32 - 1)}
    ),
    "browser_use": _OPEN,
    "computer_use": Table(
        {
            "macos": Table({"bundle_ids": Entries(Choice(("allow", "deny")))}),
            "windows": Table({"exes": Items(_OPEN)}),
        }
    ),
    "cli_auth_credentials_store": Choice(("file", "keyring", "auto", "ephemeral")),
    "desktop": Entries(Anything()),
    "experimental_thread_store": Table({"type": Choice(("local", "in_memory"))}, others=Anything(), required=("type",)),
    "file_opener": Choice(("vscode", "vscode-insiders", "windsurf", "cursor", "none")),
    "forced_chatgpt_workspace_id": Either((_TEXT, Items(_TEXT))),
    "forced_login_method": Choice(("chatgpt", "api")),
    "ghost_snapshot": Table({"ignore_large_untracked_dirs": Number(), "ignore_large_untracked_files": Number()}),
    "history": Table({"persistence": Choice(("save-all", "none")), "max_bytes": _COUNT}),
    "marketplaces": Entries(
        Table(
            {
                "last_revision": _TEXT,
                "last_updated": _TEXT,
                "ref": _TEXT,
                "source": _TEXT,
                "source_type": Choice(("git", "local")),
                "sparse_paths": Items(_TEXT),
            }
        )
    ),
    "mcp_enterprise_managed_auth": Table({"idp": _IDP}, required=("idp",), closed=True),
    "mcp_oauth_callback_port": Number(0, 65_535),
    "mcp_oauth_credentials_store": Choice(("auto", "file", "keyring")),
    "memories": Table(_MEMORIES),
    "notice": Table(_NOTICE),
    "otel": Table(
        {
            "environment": _TEXT,
            "exporter": _EXPORTER,
            "trace_exporter": _EXPORTER,
            "metrics_exporter": _EXPORTER,
            **dict.fromkeys(
                ("log_agent_responses", "log_guardian_assessments", "log_sse_deltas", "log_user_prompt"), _FLAG
            ),
            "span_attributes": Entries(_TEXT),
            "tool_result": Table({"max_bytes": _COUNT}),
            "tracestate": Entries(Entries(_TEXT)),
        }
    ),
    "plugins": Entries(_OPEN),
    "realtime": Table(
        {
            "transport": Choice(("webrtc", "websocket")),
            "type": Choice(("conversational", "transcription")),
            "version": Choice(("v1", "v2", "v3")),
            "voice": Choice(_VOICES),
        }
    ),
    "tool_suggest": Table({"disabled_tools": Items(_OPEN), "discoverables": Items(_OPEN)}),
    "tui": Table(_TUI),
    "windows": Table({"allow_mxc": _FLAG, "sandbox": Choice(("elevated", "unelevated", "mxc"))}, others=Anything()),
}
