"""Which folders of a repository hold projects of their own: the root, and those that no root manifest covers."""

import re
from collections.abc import Collection, Iterable
from itertools import takewhile

from codexteam.environment.documents import Documents, dig, strings
from codexteam.environment.ecosystems import deno, dotnet, elixir, go, java, native, node, perl, php, python, ruby, rust
from codexteam.environment.plan import Ecosystem

_ASIDE = re.compile(
    r"(?:^|/)(?:examples?|samples?|demos?|fixtures?|testdata|test-data|test_data|(?:[-\w]+-)?tests?|spec|__tests__|vendor|third[-_]?party|docs?"
    r"|documentation|website|site|benchmarks?|bench|node_modules|templates?|\.\w[^/]*|scripts?|tools?|ci|e2e|integration[-_\w]*"
    r"|contrib|hack|_\w+|playground|fuzz|support|packaging|android|ios|assets|etc|util)(?:/|$)",
    re.IGNORECASE,
)
_WILDCARD = re.compile(r"[*?\[{]")
_MAX_DEPTH = 3
_MAX_FOLDERS = 12

MANIFESTS: dict[Ecosystem, tuple[str, ...]] = {
    Ecosystem.PYTHON: python.MANIFESTS,
    Ecosystem.NODE: node.MANIFESTS,
    Ecosystem.DENO: deno.MANIFESTS,
    Ecosystem.GO: go.MANIFESTS,
    Ecosystem.RUST: rust.MANIFESTS,
    Ecosystem.RUBY: ruby.MANIFESTS,
    Ecosystem.PHP: php.MANIFESTS,
    Ecosystem.JAVA: java.MANIFESTS,
    Ecosystem.ELIXIR: elixir.MANIFESTS,
    Ecosystem.PERL: perl.MANIFESTS,
    Ecosystem.NATIVE: native.MANIFESTS,
}


def project_folders(documents: Documents, touched: Collection[str] = ()) -> list[tuple[Ecosystem, str]]:
    """Return (ecosystem, folder) of every project whose packages are installed, the root's first.

    A folder below one of the same ecosystem is covered by it; folders of examples, fixtures and the like count only where
    a task touches them. Where the root has a project of any kind, other folders count only when they are touched or hold
    an ecosystem that the root lacks.

    Args:
        documents: the repository's files.
        touched: folders or files that tasks write.
    """
    found: list[tuple[Ecosystem, str]] = []
    by_folder = _by_folder(documents)
    for folder in sorted(by_folder, key=lambda each: (each.count("/") + bool(each), each)):
        for ecosystem in by_folder[folder]:
            is_touched = lies_in(folder, touched)
            if folder and not is_touched and (_ASIDE.search(folder) or folder.count("/") >= _MAX_DEPTH):
                continue
            if not is_touched and len(found) >= _MAX_FOLDERS:
                continue
            if _is_covered(documents, ecosystem, folder, found, is_touched=is_touched):
                continue
            found.append((ecosystem, folder))
    return found


def lies_in(folder: str, touched: Iterable[str]) -> bool:
    """Return whether one of the folders or files is a folder, or lies in it; everything lies in the root."""
    return any(not folder or path == folder or path.startswith(f"{folder}/") for path in touched)


def literal_prefixes(globs: Iterable[str]) -> tuple[str, ...]:
    """Return what globs name before their first wildcard, each once; one that begins with a wildcard names no folder."""
    found: dict[str, None] = {}
    for glob in globs:
        parts = [part for part in glob.split("/") if part not in {"", "."}]
        plain = takewhile(lambda part: not _WILDCARD.search(part), parts)
        found["/".join(plain)] = None
    return tuple(sorted(prefix for prefix in found if prefix))


def _by_folder(documents: Documents) -> dict[str, list[Ecosystem]]:
    found: dict[str, list[Ecosystem]] = {}
    names = {name: ecosystem for ecosystem, manifests in MANIFESTS.items() for name in manifests}
    for path in documents.view.paths:
        folder, _, name = path.rpartition("/")
        ecosystem = Ecosystem.DOTNET if dotnet.is_build(name) else names.get(name)
        if ecosystem is not None and ecosystem not in found.setdefault(folder, []):
            found[folder].append(ecosystem)
    # requirements files have many names
    if Ecosystem.PYTHON not in found.get("", []) and any(
        re.fullmatch(r"(?:[\w-]*requirements[\w.-]*|requirements/[\w-]+)\.txt", path) for path in documents.view.paths
    ):
        found.setdefault("", []).append(Ecosystem.PYTHON)
    order = list(MANIFESTS)
    return {
        folder: sorted(each, key=lambda one: order.index(one) if one in order else 8) for folder, each in found.items()
    }


def _is_covered(
    documents: Documents,
    ecosystem: Ecosystem,
    folder: str,
    found: Iterable[tuple[Ecosystem, str]],
    *,
    is_touched: bool,
) -> bool:
    above = [other for kind, other in found if kind is ecosystem and (not other or folder.startswith(f"{other}/"))]
    if ecosystem is Ecosystem.NATIVE:
        # makefiles and CMake lists of other folders belong to the build above, or to a binding of another language
        return bool(folder) and (not is_touched or bool(above))
    if not folder or not above:
        return False
    if ecosystem is Ecosystem.NODE:
        patterns = [pattern for other in above for pattern in node.workspace_patterns(documents, other)]
        inside = any(
            node.in_workspace(folder.removeprefix(f"{other}/"), node.workspace_patterns(documents, other))
            for other in above
        )
        return inside or (not is_touched and not patterns) or not is_touched
    if ecosystem is Ecosystem.PYTHON:
        members = strings(dig(documents.toml("pyproject.toml"), "tool", "uv", "workspace", "members"))
        return not is_touched or node.in_workspace(folder, members)
    if ecosystem is Ecosystem.GO:
        return not is_touched and not _is_module_beside(folder)
    return not is_touched or ecosystem in {Ecosystem.RUST, Ecosystem.JAVA, Ecosystem.DOTNET}


def _is_module_beside(folder: str) -> bool:
    """Return whether a Go module in a folder of another one is worth its packages without a task that touches it."""
    return False if "/" in folder else not _ASIDE.search(folder)
