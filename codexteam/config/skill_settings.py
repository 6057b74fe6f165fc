"""`[skills]`, of the run and of a role on top of it."""

from pathlib import Path

from codexteam.config.layers import resolve_path
from codexteam.config.settings import SkillOverride, SkillSettings
from codexteam.core.json_types import JSONObject, JSONValue


def run_skills(table: JSONObject, base: Path) -> SkillSettings:
    """Give the settings of a `[skills]` table; relative paths start from `base`."""
    return SkillSettings(
        include_instructions=table.get("include_instructions") is not False,
        bundled_enabled=_bundled(table) is not False,
        overrides=tuple(_overrides(table, base)),
    )


def role_skills(run: SkillSettings, table: JSONObject, base: Path) -> SkillSettings:
    """Give the run's settings with what a role switches off; a role cannot switch on."""
    return SkillSettings(
        include_instructions=run.include_instructions and table.get("include_instructions") is not False,
        bundled_enabled=run.bundled_enabled and _bundled(table) is not False,
        overrides=(*run.overrides, *(override for override in _overrides(table, base) if not override.enabled)),
    )


def _bundled(table: JSONObject) -> JSONValue:
    bundled = table.get("bundled")
    return bundled.get("enabled") if isinstance(bundled, dict) else None


def _overrides(table: JSONObject, base: Path) -> list[SkillOverride]:
    entries = table.get("config")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            name, path = entry.get("name"), entry.get("path")
            found.append(
                SkillOverride(
                    name=name if isinstance(name, str) else None,
                    path=resolve_path(path, base) if isinstance(path, str) else None,
                    enabled=entry.get("enabled") is True,
                )
            )
    return found
