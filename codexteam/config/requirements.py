"""The machine's `requirements.toml`: not values but what values may be. A refused one falls back, and is said."""

from dataclasses import dataclass, replace

from codexteam.config.model_settings import WEB_SEARCH_ORDER
from codexteam.config.permissions import Reach
from codexteam.config.settings import SandboxMode
from codexteam.config.toml_file import TomlText
from codexteam.core.json_types import JSONValue

_USED = ("allowed_sandbox_modes", "allowed_web_search_modes")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the machine allows; an empty set allows everything."""

    source: str = ""
    sandbox_modes: tuple[SandboxMode, ...] = ()
    web_searches: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    """Keys of the file that codexteam does not act on."""

    def limit_reach(self, reach: Reach, notices: list[str]) -> Reach:
        """Give the reach, or the widest allowed one that is narrower, else the narrowest allowed."""
        if not self.sandbox_modes or reach.mode in self.sandbox_modes:
            return reach
        order = list(SandboxMode)
        allowed = sorted(self.sandbox_modes, key=order.index)
        narrower = [mode for mode in allowed if order.index(mode) < order.index(reach.mode)]
        mode = narrower[-1] if narrower else allowed[0]
        notices.append(f"{self.source}: sandbox_mode `{reach.mode}` is not allowed here; `{mode}` is used")
        return replace(reach, mode=mode)

    def limit_search(self, search: str, notices: list[str]) -> str:
        """Give the web search, or the widest allowed one that reaches less far."""
        if not self.web_searches or search in self.web_searches or search == "disabled":
            return search
        narrower = WEB_SEARCH_ORDER[: WEB_SEARCH_ORDER.index(search)]
        allowed = [mode for mode in narrower if mode in self.web_searches or mode == "disabled"]
        notices.append(f"{self.source}: web_search `{search}` is not allowed here; `{allowed[-1]}` is used")
        return allowed[-1]


def read_requirements(file: TomlText | None) -> Requirements:
    """Give the requirements of a file; words that are not known allow nothing."""
    if file is None:
        return Requirements()
    return Requirements(
        source=file.source,
        sandbox_modes=_modes(file),
        web_searches=_words(file.values.get("allowed_web_search_modes")),
        unused=tuple(key for key in file.values if key not in _USED),
    )


def _modes(file: TomlText) -> tuple[SandboxMode, ...]:
    words = _words(file.values.get("allowed_sandbox_modes"))
    known = tuple(mode for mode in SandboxMode if mode.value in words)
    # no mode at all would be no limit
    return known or ((SandboxMode.READ_ONLY,) if words else ())


def _words(value: JSONValue) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
