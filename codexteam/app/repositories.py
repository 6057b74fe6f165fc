"""The repositories that a command names: each by a name of its own, found and told apart before anything is spent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.core.text import clean_line
from codexteam.errors import RepoError, UsageError

if TYPE_CHECKING:
    from codexteam.adapters.git.location import Places

#: What a name may be: it is a folder in a workspace, and stands in plans and messages.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
NAME_FORMS = "letters, digits, dots, dashes and underscores, at most 64"


@dataclass(frozen=True, slots=True)
class NamedRepository:
    """A repository and what the user calls it."""

    name: str
    places: "Places"


def is_name(text: str) -> bool:
    """Return whether a repository may be called so."""
    return bool(_NAME.fullmatch(text))


def read_named(words: Sequence[str], folder: Path) -> dict[str, Path]:
    """Read `NAME=PATH`, each path from a folder.

    Raises:
        UsageError: one cannot be read, or a name is there twice.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = (part.strip() for part in word.partition("="))
        if not equals or not path:
            raise UsageError(
                f"--repo {clean_line(word)}: found no NAME=PATH", hint="for example --repo api=../api --repo web=../web"
            )
        if not is_name(name):
            raise UsageError(f"--repo {clean_line(word)}: found the name {clean_line(name)!r}; allowed: {NAME_FORMS}")
        if same := next((each for each in found if each.casefold() == name.casefold()), None):
            raise UsageError(f"--repo: {same} is named twice", hint="give each repository a name of its own")
        found[name] = folder / Path(path).expanduser()
    return found


def find_named(named: Mapping[str, Path], environment: Mapping[str, str]) -> tuple[NamedRepository, ...]:
    """Find the repositories around the named folders.

    Raises:
        RepoError: at least one is no repository; says which ones and why.
        UsageError: two names mean one repository.
    """
    from codexteam.adapters.git.location import locate

    found: list[NamedRepository] = []
    problems: list[str] = []
    hint = ""
    for name, path in named.items():
        if not path.is_dir():
            problems.append(f"{name}: {clean_line(str(path))}: there is no such directory")
            hint = hint or "give --repo NAME=PATH the path of a repository's work tree"
            continue
        try:
            found.append(NamedRepository(name, locate(path.resolve(), environment)))
        except RepoError as error:
            problems.append(f"{name}: {error}")
            hint = hint or error.hint
    if problems:
        raise RepoError("; ".join(problems), hint=hint)
    by_place: dict[Path, str] = {}
    for each in found:
        if (other := by_place.setdefault(each.places.common_dir.resolve(), each.name)) != each.name:
            raise UsageError(
                f"{other} and {each.name} are one repository: {clean_line(str(each.places.root))}",
                hint="name each repository once",
            )
    return tuple(found)
