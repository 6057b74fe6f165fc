"""Shares a repository out among scouts: by size, and to each first what the goal names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.core.code_words import path_scores, search_words
from codexteam.core.paths import show
from codexteam.run.map_ranking import MOST_WORDS

_BUILD = (
    "how the repository is built, tested and checked: README, AGENTS.md, build files, every CI workflow, and the local "
    "commands that mirror each of them (`ci` in your answer)"
)
#: In a repository of no more files one scout reads all of the code.
_FEW_FILES = 40
#: A folder of more files than this, and than a scout's share, is shared out itself.
_LARGE_FOLDER = 200
_DEEPEST = 4
#: Folders that a scout is sent to by name.
_MOST_NAMED = 12


#: So few files a scout is told by name.
_FEW_NAMED = 12


@dataclass(frozen=True, slots=True)
class ScoutArea:
    """What one scout is sent to."""

    words: str
    files: tuple[bytes, ...] = ()
    """Those that nobody has described."""
    about_build: bool = False


def areas_of(
    unknown: Sequence[bytes], total: int, most: int, goal: str, *, everywhere: bool = False, knows_build: bool = False
) -> list[ScoutArea]:
    """Share the work out: the first scout reads how the repository is built and checked, the others its code by folder.

    Args:
        unknown: files that nobody has described.
        total: files in all.
        most: scouts at most.
        goal: what it names is looked at first.
        everywhere: whether a small repository, too, is read by as many as there may be.
        knows_build: whether how it is built and checked is known already.
    """
    folders = _folders(unknown, max(_LARGE_FOLDER, len(unknown) // max(1, most - 1)))
    scores = _scores(folders, unknown, goal)
    first = [] if knows_build else [ScoutArea(_BUILD, about_build=True)]
    # what is small, or nearly known, is read by one
    is_little = not everywhere and (total <= _FEW_FILES or len(unknown) <= _FEW_NAMED)
    wanted = min(most - 1, len(folders), 1 if is_little else most)
    groups: list[list[bytes]] = [[] for _ in range(max(0, wanted))]
    loads = [0] * len(groups)
    for folder, size in sorted(folders.items(), key=lambda item: (-scores[item[0]], -item[1], item[0])):
        if not groups:
            break
        lightest = loads.index(min(loads))
        groups[lightest].append(folder)
        loads[lightest] += size
    areas = [_area(group, [path for path in unknown if _within(path, folders) in group]) for group in groups]
    return [*first, *areas][:most]


def _folders(paths: Sequence[bytes], large: int) -> dict[bytes, int]:
    """Return folders, and how many files each has; large ones are taken apart."""
    found = Counter(_folder(path, 1) for path in paths)
    for depth in range(2, _DEEPEST + 1):
        too_large = {folder for folder, size in found.items() if size > large}
        if not too_large:
            break
        found = Counter(
            _folder(path, depth) if (known := _within(path, found)) in too_large else known for path in paths
        )
    return dict(found)


def _within(path: bytes, folders: Mapping[bytes, int]) -> bytes:
    """Return the deepest of the folders that a path is in."""
    return next(folder for depth in range(_DEEPEST, 0, -1) if (folder := _folder(path, depth)) in folders)


def _folder(path: bytes, depth: int) -> bytes:
    return b"/".join(path.split(b"/")[:-1][:depth]) or b"."


def _scores(folders: Mapping[bytes, int], paths: Sequence[bytes], goal: str) -> dict[bytes, float]:
    """Return how much the goal is about each folder: its best file counts."""
    best = dict.fromkeys(folders, 0.0)
    for path, score in path_scores(paths, search_words(goal, most=MOST_WORDS), goal).items():
        folder = _within(path, folders)
        best[folder] = max(best[folder], score)
    return best


def _area(folders: Sequence[bytes], files: Sequence[bytes]) -> ScoutArea:
    if len(files) <= _FEW_NAMED:
        return ScoutArea(f"the code in {', '.join(map(show, files))}{_ASKED}", tuple(files))
    named = ", ".join(map(show, folders[:_MOST_NAMED]))
    more = f", and {len(folders) - _MOST_NAMED} folders more" if len(folders) > _MOST_NAMED else ""
    return ScoutArea(f"the code in {named}{more}{_ASKED}", tuple(files))


_ASKED = ": purpose and main symbols of each file (`files` in your answer)"
