"""What a task's globs name: the places in which a file is wanted even where git ignores it.

`src/lib/util.py` names a file and `dist/` a folder; `logs/*.log` names the logs of one folder. `**/*.py` names nothing:
it would take in every package that was ever installed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WILDCARD = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MAX_ALTERNATIVES = 64


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """One place. Both texts are relative, with `/` between folders."""

    prefix: str
    """The file or folder that is named; empty for the top."""
    pattern: str = ""
    """Which of the files below it; empty: itself, with all that is below."""
    direct: bool = False
    """The pattern is of one name, and says more of it than that there is one."""


def named_places(globs: Sequence[str]) -> tuple[NamedPlace, ...]:
    """Return what globs name; a glob without a name before its first wildcard gives nothing, but for `*.log` at the top."""
    return tuple(dict.fromkeys(place for glob in globs for text in _alternatives(glob) for place in _places(text)))


def _places(glob: str) -> Iterator[NamedPlace]:
    names = [name for name in glob.split("/") if name not in {"", "."}]
    if not names or ".." in names:
        return
    at = next((index for index, name in enumerate(names) if _WILDCARD.search(name)), len(names))
    if at == len(names):
        yield NamedPlace("/".join(names))
        return
    if "[" in glob and "*" not in glob and "?" not in glob:  # brackets may be part of a name: `app/[id]/page.tsx`
        yield NamedPlace("/".join(names))
    rest = names[at:]
    while rest and rest[-1] == "**":
        rest.pop()
    prefix = "/".join(names[:at])
    direct = len(rest) == 1 and bool(re.sub(r"\[[^\]]*\]|[*?.]", "", rest[0]))
    if not rest and prefix:
        yield NamedPlace(prefix)
    elif rest and (prefix or direct):
        yield NamedPlace(prefix, "/".join(rest), direct)


def _alternatives(glob: str) -> list[str]:
    """Expand braces, as far as that is of reasonable length."""
    done: list[str] = []
    waiting = [glob]
    while waiting and len(done) + len(waiting) <= _MAX_ALTERNATIVES:
        text = waiting.pop()
        found = _BRACES.search(text)
        if found is None:
            done.append(text)
        else:
            waiting += [text[: found.start()] + choice + text[found.end() :] for choice in found[1].split(",")]
    return done
