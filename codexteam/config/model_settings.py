"""What is asked of the model: by the run, and by a role on top of it."""

from dataclasses import replace

from codexteam.config.layers import Merged
from codexteam.config.settings import ModelSettings
from codexteam.core.json_types import JSONObject

#: What Codex 0.169 uses where nobody names a model.
DEFAULT_MODEL = "gpt-6.1-sol"

#: How far a web search goes, narrowest first.
WEB_SEARCH_ORDER = ("disabled", "cached", "indexed", "live")


def run_model(merged: Merged, max_output_tokens: int) -> ModelSettings:
    """Give what a role without settings of its own asks of its model."""
    base = ModelSettings(
        provider_id="openai",
        model=DEFAULT_MODEL,
        context_window_tokens=merged.integer("model_context_window"),
        auto_compact_tokens=merged.integer("model_auto_compact_token_limit"),
        max_output_tokens=max_output_tokens,
    )
    return with_values(base, merged.values, {*KEYS, "model_provider", "web_search"})


#: The keys of a role file that change what it asks of its model; two more need a look at the run's limits.
KEYS = frozenset(("model", "model_reasoning_effort", "model_reasoning_summary", "model_verbosity", "service_tier"))

_FIELDS = {
    "model": "model",
    "model_provider": "provider_id",
    "model_reasoning_effort": "effort",
    "model_reasoning_summary": "summary",
    "model_verbosity": "verbosity",
    "service_tier": "service_tier",
    "web_search": "web_search",
}


def with_values(base: ModelSettings, values: JSONObject, keys: set[str]) -> ModelSettings:
    """Give the settings with those of `keys` that a table of configuration sets."""
    changes = {_FIELDS[key]: value for key in keys if isinstance(value := values.get(key), str) and value}
    if changes.get("effort") == "ultra":
        changes["effort"] = "xhigh"  # as Codex sends it; what else `ultra` means there, delegation, a team has anyway
    return replace(base, **changes)  # type: ignore[arg-type]  # strings into the fields that `_FIELDS` names


def narrower_search(wanted: str, limit: str) -> str:
    """Give the one of two web searches that reaches less far."""
    return min(wanted, limit, key=WEB_SEARCH_ORDER.index)
