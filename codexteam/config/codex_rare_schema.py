"""The keys of Codex's `config.toml` that have to do with its own screen, account and services: checked, not used."""

from dataclasses import replace

from codexteam.config.schema import (
    Anything,
    ChoiceKind,
    Either,
    Entries,
    Flag,
    Items,
    Number,
    Schema,
    TableKind,
    Text,
    words,
)

#: Only true or false.
FLAGS = frozenset(
    words("""
agent_message_board agent_message_board_mcp analytics_plan_history api_key_cyber_access_programs
api_key_model_discovery app_server_websocket_compression apply_patch_freeform apply_patch_preserve_line_endings
apply_patch_streaming_events apps apps_early_resource_discovery artifact async_compaction_root_only
auth_elicitation background_paginated_rollout_migration bedrock_setup_wizard browser_annotation_api browser_use
browser_use_external browser_use_full_cdp_access catalog_apps_instructions chronicle cli_daybreak
cli_resume_account_check code_mode_buffered_exec code_mode_host_grpc code_mode_host_output_truncation
code_mode_interrupt code_mode_only code_mode_only_strict_3p_tools code_mode_prewarm
code_mode_tool_description_first code_mode_tool_search codex_apps_mcp_2026_07_28 codex_git_commit codex_hooks
collab collaboration_modes command_sessions_world_state compaction_image_budget computer_use
concurrent_reasoning_summaries connectors content_item_kinds credential_masking critical_path_timing
cwd_relative_turn_diffs daemon_auto_start daybreak_program_propagation default_mode_request_user_input
defer_mailbox_preemption deferred_executor deferred_tool_world_state elevated_windows_sandbox
enable_experimental_windows_sandbox enable_fanout enable_mcp_apps enable_request_compression
exec_permission_approvals executed_tool_call_metadata executor_capability_discovery
executor_capability_discovery_v2 experimental_use_unified_exec_tool experimental_windows_sandbox
external_agent_memory_import external_migration fast_mode file_backed_tool_audio gateway_setup_wizard
gcp_setup_wizard goals guardian_approval guardian_conversation_history_tools guardian_denial_reconsideration
guardian_enhanced_node_repl_transcripts guardian_ext guardian_include_additional_context
guardian_native_multi_agent_history guardian_nested_approval_context guardian_node_repl_transcript_images
guardian_recorded_items guardian_reuse_parent_compaction guardian_root_handoff_context
guardian_trust_orchestrator_connectors guardianv2_decisions_comparison hooks hosted_search_policy
image_detail_original image_generation image_generation_animation image_resize_notice imagegenext in_app_browser
in_app_chat in_app_dictation in_app_local_automation in_app_updates in_app_voice incremental_exec_tools
incremental_tools incremental_tools_legacy incremental_tools_legacy_gcp instant_interrupt interrupt_on_cancel
item_ids js_repl js_repl_tools_only local_thread_store_compression local_thread_store_shared_compression
login_shell_package_path mcp_2026_07_28 mcp_connection_sharing mcp_lazy_stdio_startup
mcp_oauth_refresh_coordination mcp_shared_repl_cwd mcp_tool_list_changed memories memory_tool mentions_v2
model_catalog_in_context multi_agent multi_agent_mode multi_agent_v2_dynamic_tools multi_env_copy_file
multi_environment_mcp nonfatal_clock_read_errors omit_app_server_notification_media omit_skill_descriptions
output_token_replay per_environment_context personality plugin_discovery_prefetch plugin_hooks plugin_sharing
plugins powershell_shell_version prediction_preserve_parent_tools prefer_mxc prevent_idle_sleep psp
realtime_conversation reasoning_effort_override recommended_plugins remote_compaction_v2 remote_control
remote_models remote_plugin request_permissions request_permissions_tool request_rule resize_all_images
respect_system_proxy responses_websockets responses_websockets_v2 restored_history_prewarm
retain_client_developer_messages retain_client_tool_outputs runtime_metrics safe_image_decoder search_tool
secret_auth_storage send_async_message send_message_to_user_async shell_snapshot shell_snapshot_v2 shell_tool
shell_zsh_fork simplified_selection_hints skill_catalog_deltas skill_env_var_dependency_prompt
skill_mcp_dependency_install skill_search skip_host_skill_discovery sqlite stable_environment_tools
standalone_web_search steer step_model_switching subagent_default_context_limits subagent_thread_environments
suppress_model_change_announcements system_proxy_fallback telepathy terminal_resize_reflow
terminal_visualization_instructions tool_call_mcp_elicitation tool_search tool_search_always_defer_mcp_tools
tool_suggest transcript_v2 tui_app_server tui_extensions_statusline tui_multi_backend tui_workspace
ultrafast_mode unavailable_dummy_tools unbounded_connection_retries undo unified_exec unified_exec_tty
unified_exec_zsh_fork unified_image_budget untrusted_as_tool_output use_agent_identity use_legacy_landlock
use_linux_sandbox_bwrap use_xaa utc_environment_date view_image wake_on_agent_messages web_search
web_search_cached web_search_request windows_sandbox_service workspace_dependencies workspace_owner_usage_nudge
worktrees write_stdin_approval
""")
)

#: True, false or a table of options.
TABLES = frozenset(
    words("""
apps_mcp_path_override async_compaction code_mode code_mode_host context_management current_time_reminder
guardianv2 guardianv3 multi_agent_v2 network_proxy non_prefixed_mcp_tool_names rollout_budget
runtime_agent_instances sleep_tool token_budget
""")
)

#: The options of `[features.multi_agent_v2]`, by kind; others make Codex refuse the file.
MULTI_AGENT_V2_FLAGS = words(
    """
enabled usage_hint_enabled preserve_fork_prefix hide_spawn_agent_metadata expose_spawn_agent_model_overrides
wait_agent_enabled interrupt_at_item_boundary disable_native_tools disable_direct_message
message_board_in_memory non_code_mode_only
"""
)
MULTI_AGENT_V2_COUNTS = words(
    """
max_concurrent_threads_per_session min_wait_timeout_ms max_wait_timeout_ms default_wait_timeout_ms
"""
)
MULTI_AGENT_V2_TEXTS = words(
    """
usage_hint_text root_agent_usage_hint_text subagent_usage_hint_text subagent_developer_instructions
multi_agent_mode_hint_text tool_namespace
"""
)


_TEXT = Text()
_FLAG = Flag()
_COUNT = Number(low=0)
_CHANNEL = Number(1, 65_535)
_OPEN = TableKind({}, others=Anything())
_BOOL_TABLE = TableKind({"enabled": _FLAG})

_OTLP = TableKind(
    {
        "endpoint": _TEXT,
        "headers": Entries(_TEXT),
        "protocol": ChoiceKind(("binary", "json")),
        "tls": Entries(_TEXT),
    },
    required=("endpoint",),
)
_OTLP_HTTP = replace(_OTLP, required=("endpoint", "protocol"))
_EXPORTER = Either(
    (
        ChoiceKind(("none", "statsig", "otlp-http", "otlp-grpc")),
        TableKind({"otlp-http": _OTLP_HTTP, "otlp-grpc": _OTLP}, closed=True),
    )
)

_IDP = TableKind(
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
    "agents_overview_grouping": ChoiceKind(("project", "status", "model")),
    "alternate_screen": ChoiceKind(("auto", "always", "never")),
    "copy_on_select": ChoiceKind(("auto", "always", "never")),
    "default_hosts": Entries(Entries(_TEXT)),
    "effects": _OPEN,
    "keymap": _OPEN,
    "model_availability_nux": Entries(_COUNT),
    "mouse_scroll_speed": Number(low=5e-324, high=1e308, fraction=True),
    "notifications": Either((_FLAG, Items(_TEXT))),
    "notification_method": ChoiceKind(("auto", "osc9", "osc777", "bel")),
    "notification_condition": ChoiceKind(("unfocused", "always")),
    "pet": _TEXT,
    "pet_anchor": ChoiceKind(("composer", "screen-bottom")),
    "presets": Entries(TableKind({"input": _TEXT}, others=Anything(), required=("input",))),
    "rendering": _OPEN,
    "resume_cwd": ChoiceKind(("current", "session")),
    "right_click_paste": ChoiceKind(("auto", "on", "off")),
    "session_picker_view": ChoiceKind(("comfortable", "dense")),
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
    "external_config_migration_prompts": TableKind(
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
    "version": ChoiceKind(("v1", "v2")),
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
    **dict.fromkeys(("orchestrator", "cloud"), TableKind({"skills": _BOOL_TABLE})),
    **dict.fromkeys(("notify", "js_repl_node_module_dirs"), Items(_TEXT)),
    "apps": Entries(_OPEN),
    "audio": TableKind(
        {"microphone": _TEXT, "microphone_channel": Either((_CHANNEL, Items(_CHANNEL))), "speaker": _TEXT}
    ),
    "auto_review": TableKind(
        {"circuit_break_action": ChoiceKind(("default", "strict")), "policy": _TEXT, "timeout_ms": Number(0, 2**32 - 1)}
    ),
    "browser_use": _OPEN,
    "computer_use": TableKind(
        {
            "macos": TableKind({"bundle_ids": Entries(ChoiceKind(("allow", "deny")))}),
            "windows": TableKind({"exes": Items(_OPEN)}),
        }
    ),
    "code_mode": TableKind({"heartbeat_interval_s": Number(0, 2**32 - 1)}),
    "cli_auth_credentials_store": ChoiceKind(("file", "keyring", "auto", "ephemeral")),
    "desktop": Entries(Anything()),
    "experimental_thread_store": TableKind(
        {"type": ChoiceKind(("local", "in_memory"))}, others=Anything(), required=("type",)
    ),
    "file_opener": ChoiceKind(("vscode", "vscode-insiders", "windsurf", "cursor", "none")),
    "forced_chatgpt_workspace_id": Either((_TEXT, Items(_TEXT))),
    "forced_login_method": ChoiceKind(("chatgpt", "api")),
    "ghost_snapshot": TableKind({"ignore_large_untracked_dirs": Number(), "ignore_large_untracked_files": Number()}),
    "history": TableKind({"persistence": ChoiceKind(("save-all", "none")), "max_bytes": _COUNT}),
    "marketplaces": Entries(
        TableKind(
            {
                "last_revision": _TEXT,
                "last_updated": _TEXT,
                "ref": _TEXT,
                "source": _TEXT,
                "source_type": ChoiceKind(("git", "local")),
                "sparse_paths": Items(_TEXT),
            }
        )
    ),
    "mcp_enterprise_managed_auth": TableKind({"idp": _IDP}, required=("idp",), closed=True),
    "mcp_oauth_callback_port": Number(0, 65_535),
    "mcp_oauth_credentials_store": ChoiceKind(("auto", "file", "keyring")),
    "memories": TableKind(_MEMORIES),
    "notice": TableKind(_NOTICE),
    "otel": TableKind(
        {
            "environment": _TEXT,
            "exporter": _EXPORTER,
            "trace_exporter": _EXPORTER,
            "metrics_exporter": _EXPORTER,
            **dict.fromkeys(
                ("log_agent_responses", "log_guardian_assessments", "log_sse_deltas", "log_user_prompt"), _FLAG
            ),
            "headers_helper": _TEXT,
            "headers_helper_refresh_interval_ms": Number(low=1),
            "span_attributes": Entries(_TEXT),
            "tool_result": TableKind({"max_bytes": _COUNT}),
            "tracestate": Entries(Entries(_TEXT)),
        }
    ),
    "plugins": Entries(_OPEN),
    "realtime": TableKind(
        {
            "transport": ChoiceKind(("webrtc", "websocket")),
            "type": ChoiceKind(("conversational", "transcription")),
            "version": ChoiceKind(("v1", "v2", "v3")),
            "voice": ChoiceKind(_VOICES),
        }
    ),
    "responses": TableKind({"process_mode": ChoiceKind(("streaming", "after_complete_response"))}),
    "rollout_trace": TableKind(dict.fromkeys(("max_payload_bytes", "max_bytes"), _COUNT)),
    "tool_suggest": TableKind({"disabled_tools": Items(_OPEN), "discoverables": Items(_OPEN)}),
    "tui": TableKind(_TUI),
    "windows": TableKind(
        {"allow_mxc": _FLAG, "sandbox": ChoiceKind(("elevated", "unelevated", "mxc"))}, others=Anything()
    ),
}
