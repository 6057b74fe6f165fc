"""Whether a change of files may be a change of what is set up: asked of every merge, so that few are looked at again."""

from collections.abc import Collection, Iterable

from codexteam.core.base_check import has_tests
from codexteam.core.file_kinds import is_test_file
from codexteam.environment.ecosystems import dotnet
from codexteam.environment.folders import MANIFESTS

#: Files that are found by their endings, not by their names.
_LISTED = (".gemspec", ".cmake", ".wrap", "CMakeLists.txt", "meson.build", "meson_options.txt")
_FOLDERS = (".github/workflows/", ".github/actions/", ".devcontainer/")
_MANIFEST_NAMES = frozenset(name for names in MANIFESTS.values() for name in names)


def may_differ(changed: Iterable[str], *, asked: Collection[str], files: Collection[str]) -> bool:
    """Return whether detection, asked again, might say something else.

    Args:
        changed: paths that were added, changed or removed.
        asked: paths that detection asked for before the change, there or not.
        files: all paths before the change.
    """
    names = {path.rpartition("/")[2] for path in asked}
    # the first tests of a repository bring their runner
    without_tests = not has_tests(files)
    return any(
        path.rpartition("/")[2] in names or names_set_up(path) or (without_tests and is_test_file(path))
        for path in changed
    )


def names_set_up(path: str) -> bool:
    """Return whether a file, by its path, says what is set up, built or checked."""
    name = path.rpartition("/")[2]
    return (
        name in _MANIFEST_NAMES
        or path.endswith(_LISTED)
        or path.startswith(_FOLDERS)
        or dotnet.is_build(name)
        or ("requirements" in path and path.endswith((".txt", ".in")))
    )
