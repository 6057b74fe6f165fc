"""The machine's `requirements.toml`: not values but what values may be. A refused one falls back, and is said."""

from dataclasses import dataclass

from codexteam.config.permissions import WEB_SEARCH_ORDER
from codexteam.config.settings import SandboxMode, StatedValue
from codexteam.config.toml_file import TomlText
from codexteam.core.ids import JSONValue

_MODES, _SEARCHES = "allowed_sandbox_modes", "allowed_web_search_modes"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the machine allows; an empty set allows everything."""

    file: TomlText | None = None
    sandbox_modes: tuple[SandboxMode, ...] = ()
    web_searches: tuple[str, ...] = ()

    def cap_mode(self, mode: SandboxMode) -> tuple[SandboxMode, StatedValue | None]:
        """Return a mode if it is allowed, else the widest allowed one that is narrower, else the narrowest allowed.

        With it comes the line that refuses the one that was asked for.
        """
        if not self.sandbox_modes or mode in self.sandbox_modes:
            return mode, None
        order = list(SandboxMode)
        allowed = sorted(self.sandbox_modes, key=order.index)
        narrower = [known for known in allowed if order.index(known) < order.index(mode)]
        used = narrower[-1] if narrower else allowed[0]
        return used, self._line(_MODES, used.value)

    def cap_search(self, search: str) -> tuple[str, StatedValue | None]:
        """Return a web search if it is allowed, else the widest allowed one that reaches less far; and the line."""
        if not self.web_searches or search in self.web_searches or search == "disabled":
            return search, None
        narrower = WEB_SEARCH_ORDER[: WEB_SEARCH_ORDER.index(search)]
        allowed = [mode for mode in narrower if mode in self.web_searches or mode == "disabled"]
        return allowed[-1], self._line(_SEARCHES, allowed[-1])

    def _line(self, key: str, used: str) -> StatedValue:
        """Return the item of a list that counts, else the list, which does not have the value that is used."""
        assert self.file is not None
        items = _words(self.file.values.get(key))
        if used in items:
            return StatedValue(key, used, self.file.place((key, items.index(used))))
        return StatedValue(key, ", ".join(items), self.file.place((key,)))


def read_requirements(file: TomlText | None) -> Requirements:
    """Return the requirements of a file; words that are not known allow nothing."""
    if file is None:
        return Requirements()
    return Requirements(file=file, sandbox_modes=_modes(file), web_searches=tuple(_words(file.values.get(_SEARCHES))))


def _modes(file: TomlText) -> tuple[SandboxMode, ...]:
    words = _words(file.values.get(_MODES))
    known = tuple(mode for mode in SandboxMode if mode.value in words)
    # no mode at all would be no limit
    return known or ((SandboxMode.READ_ONLY,) if words else ())


def _words(value: JSONValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
