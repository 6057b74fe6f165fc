"""What may change: names, kinds, links, guarded paths and the task's own paths, judged over raw bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from codexteam.adapters.git.objects import TreeEntry
from codexteam.core.paths import MAX_PATH_BYTES, fold, link_problem, matches_any, name_problem, names_exactly, show
from codexteam.ports.repo import IntakePolicy, TreeChange, Violation

_FILE = "100644"
_PROGRAM = "100755"
_LINK = "120000"
_SUBMODULE = "160000"
_NONE = "000000"
_WRITTEN = {b"100644", b"100755", b"120000", b"160000", b"40000"}
#: What a folder has that git takes for a bare repository.
_REPOSITORY = {"head", "objects", "refs"}


def kind_problems(changes: Sequence[TreeChange], policy: IntakePolicy) -> Iterator[Violation]:
    """Return every change whose kind of entry is not allowed."""
    for change in changes:
        if _SUBMODULE in {change.old_mode, change.new_mode} and not names_exactly(change.path, policy.allowed):
            yield Violation(
                "mode", f"{show(change.path)} is a submodule; a task may not add, move or remove one", show(change.path)
            )
        elif change.new_mode not in {_FILE, _PROGRAM, _LINK, _SUBMODULE, _NONE}:
            yield Violation("mode", f"{show(change.path)} has the mode {change.new_mode}", show(change.path))


def stored_mode_problems(trees: Mapping[str, Sequence[TreeEntry]]) -> Iterator[Violation]:
    """Return every entry of the new trees whose mode git would not write: git's own listings show it as a usual one."""
    for entries in trees.values():
        for entry in entries:
            if entry.mode not in _WRITTEN:
                mode = entry.mode.decode("ascii", "replace")
                yield Violation("mode", f"{show(entry.name)} is stored with the mode {mode}", show(entry.name))


def name_problems(changes: Sequence[TreeChange]) -> Iterator[Violation]:
    """Return every new path that no file may have; what the base has already is not judged."""
    for change in changes:
        problem = name_problem(change.path) if change.status == "A" else None
        if problem:
            yield Violation(
                "name", f"{show(change.path[:MAX_PATH_BYTES])} {problem}", show(change.path[:MAX_PATH_BYTES])
            )


def sibling_problems(
    changes: Sequence[TreeChange], root: str, trees: Mapping[str, Sequence[TreeEntry]]
) -> Iterator[Violation]:
    """Return new names that some file system takes for a sibling's, and folders that git takes for a repository.

    Args:
        changes: what differs from the base.
        root: the new tree's id.
        trees: the trees that the base does not have; a folder with a new name in it is among them.
    """
    added = {change.path for change in changes if change.status == "A"}
    judged: set[bytes] = set()
    listings: dict[bytes, dict[str, list[bytes]]] = {}
    folders: dict[bytes, str] = {b"": root}

    def listing(folder: bytes) -> dict[str, list[bytes]]:
        if folder not in listings:
            names: defaultdict[str, list[bytes]] = defaultdict(list)
            for entry in trees.get(folders.get(folder, ""), ()):
                names[fold(entry.name.decode("utf-8", "surrogateescape"))].append(entry.name)
                if entry.is_tree:
                    folders[_join(folder, entry.name)] = entry.id
            listings[folder] = dict(names)
        return listings[folder]

    for path in sorted(added):
        names = path.split(b"/")
        for index, name in enumerate(names):
            folder, whole = b"/".join(names[:index]), b"/".join(names[: index + 1])
            if whole in judged:
                continue
            judged.add(whole)
            present = listing(folder)
            same = present.get(fold(name.decode("utf-8", "surrogateescape")), [])
            others = [other for other in same if other != name]
            if others:
                message = f"{show(whole)} and {show(_join(folder, others[0]))} are one name on some file systems"
                yield Violation("name", message, show(whole))
            if fold(name.decode("utf-8", "surrogateescape")) in _REPOSITORY and set(present) >= _REPOSITORY:
                yield Violation("name", f"the folder {show(folder) or '.'} looks like a git repository", show(whole))


def link_problems(
    changes: Sequence[TreeChange], policy: IntakePolicy, target: Callable[[str], bytes | None]
) -> Iterator[Violation]:
    """Return every new or changed link that leads out of its repository or into `.git`."""
    for change in changes:
        if change.new_mode != _LINK:
            continue
        data = target(change.new_blob)
        # of several repositories each is a folder here, and alone where the link is used
        path = change.path.partition(b"/")[2] if policy.folders else change.path
        problem = "has a target that is too long" if data is None else link_problem(path, data)
        if problem:
            yield Violation("link", f"the link {show(change.path)} {problem}", show(change.path))


def guarded_problems(changes: Sequence[TreeChange], policy: IntakePolicy) -> Iterator[Violation]:
    """Return every change to a guarded path that no person opened."""
    for change in changes:
        if matches_any(change.path, policy.guarded) and not matches_any(change.path, policy.opened):
            message = (
                f"{show(change.path)} is guarded; only the user can open it, with --allow-guarded or `allow_guarded`"
            )
            yield Violation("guarded", message, show(change.path))


def folder_problems(changes: Sequence[TreeChange], policy: IntakePolicy) -> Iterator[Violation]:
    """Return every change outside the repositories that may change, which no setting allows."""
    if not policy.folders:
        return
    inside = {folder.encode() for folder in policy.folders}
    for change in changes:
        top, slash, _ = change.path.partition(b"/")
        if top not in inside or not slash:
            shown = ", ".join(policy.folders)
            yield Violation("scope", f"{show(change.path)} lies outside the repository ({shown})", show(change.path))


def scope_problems(changes: Sequence[TreeChange], policy: IntakePolicy) -> Iterator[Violation]:
    """Return every change outside the task's paths."""
    if not policy.allowed:
        return
    for change in changes:
        if not matches_any(change.path, policy.allowed):
            shown = ", ".join(policy.allowed[:8])
            yield Violation("scope", f"{show(change.path)} lies outside the task's paths ({shown})", show(change.path))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
