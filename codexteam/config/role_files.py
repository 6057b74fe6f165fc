"""Role files and role tables, found and read by Codex's rules: what is a role, what is not, and which one counts."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.config.codex_schema import AGENTS, ROLE_FILE, refuse
from codexteam.config.layers import Layer, LayerKind, resolve_path
from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file
from codexteam.config.schema import Problem, check
from codexteam.config.toml_file import TomlText, parse_toml, read_bytes
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ConfigError

_NICKNAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_")


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """A role as its layers define it; nothing is resolved yet."""

    name: str
    description: str | None
    values: JSONObject
    """Keys of a configuration, from the role's file."""
    nicknames: tuple[str, ...] = ()
    file: TomlText | None = field(default=None, repr=False)
    path: Path | None = None
    """The role's file; None for one that has a table only."""
    digest: str = ""
    layer: Layer | None = None
    registered_at: str = ""
    """The place of its `[agents.<role>]`; empty for a file that was found in a folder."""
    unknown: tuple[tuple[str, Problem], ...] = ()
    """Unknown keys of its file, each with its place. Codex drops a role with one; a newer Codex may know it."""


@dataclass(frozen=True, slots=True)
class RoleProblem:
    """A definition that cannot be used."""

    name: str | None
    """The role's name, as registered or as its file says. None: the file defines no role, so nothing needs it."""
    error: ConfigError
    registered_twice: bool = False

    @property
    def words(self) -> str:
        """What is wrong, on one line."""
        return "; ".join(str(self.error).split("\n"))


@dataclass(frozen=True, slots=True)
class Roles:
    """All roles, and what was dropped."""

    definitions: dict[str, RoleDefinition]
    problems: tuple[RoleProblem, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about files that define no role, and about second files of a role."""
        return tuple(problem.words for problem in self.problems if problem.name is None)


def find_roles(layers: Iterable[Layer], needed: frozenset[str] = frozenset()) -> Roles:
    """Find the roles of all layers, lowest first; the shipped ones lie below them all."""
    definitions = {name: _shipped(name) for name in BUNDLED_ROLES}
    problems: list[RoleProblem] = []
    for layer in layers:
        own: dict[str, RoleDefinition] = {}
        used: set[Path] = set()
        for found in _registered(layer, used):
            _register(_taken(found, needed), own, problems)
        for found in _discovered(layer, used):
            _discover(_taken(found, needed), own, problems)
        for name, role in own.items():
            below = definitions.get(name)
            definitions[name] = _over(below, role) if below else role
    whole: dict[str, RoleDefinition] = {}
    for name, role in definitions.items():
        if role.description is None:
            place = role.layer.place(("agents", name)) if role.layer else ""
            error = ConfigError(
                f"{place}: role `{name}` has no description", hint=f"add `description` to [agents.{name}] or its file"
            )
            problems.append(RoleProblem(name, error))
        else:
            whole[name] = role
    return Roles(whole, tuple(problems))


def _taken(found: RoleDefinition | RoleProblem, needed: frozenset[str]) -> RoleDefinition | RoleProblem:
    """Drop a role with an unknown key, as Codex does; but keep one that the run cannot do without.

    The key may be one of a newer Codex: no reason not to start. That it is not known is said in either case.
    """
    if isinstance(found, RoleProblem) or not found.unknown or found.name in needed:
        return found
    return RoleProblem(found.name, refuse(found.unknown))


def _register(found: RoleDefinition | RoleProblem, own: dict[str, RoleDefinition], problems: list[RoleProblem]) -> None:
    if isinstance(found, RoleProblem):
        problems.append(found)
    elif (first := own.get(found.name)) is not None:
        error = ConfigError(
            f"{found.registered_at}: the role `{found.name}` is registered a second time, the first is at "
            f"{first.registered_at}",
            hint=f"remove one of the two, or give the file of one another `name` than `{found.name}`",
        )
        problems.append(RoleProblem(found.name, error, registered_twice=True))
    else:
        own[found.name] = found


def _discover(found: RoleDefinition | RoleProblem, own: dict[str, RoleDefinition], problems: list[RoleProblem]) -> None:
    if isinstance(found, RoleProblem):
        problems.append(found)
    elif (first := own.get(found.name)) is not None:
        # the first one counts, so the run has what it needs: this is never fatal
        error = ConfigError(
            f"{found.path}: a second role `{found.name}`, not used: {first.registered_at or first.path} comes first"
        )
        problems.append(RoleProblem(None, error))
    else:
        own[found.name] = found


def _over(below: RoleDefinition, role: RoleDefinition) -> RoleDefinition:
    """Return a role over the one of a lower layer that it replaces: what it does not say is filled from below."""
    filled = replace(
        role,
        description=role.description if role.description is not None else below.description,
        nicknames=role.nicknames or below.nicknames,
    )
    if role.path is not None:
        return filled
    # a table without a file changes the description alone: the rest is still whose file it is
    return replace(
        filled,
        values=below.values,
        file=below.file,
        path=below.path,
        digest=below.digest,
        unknown=below.unknown,
        layer=below.layer,
    )


def _shipped(name: str) -> RoleDefinition:
    path = bundled_role_file(name)
    layer = Layer(LayerKind.BUILT_IN, LayerKind.BUILT_IN.value, path.parent)
    return _read(path, layer)


def _registered(layer: Layer, used: set[Path]) -> Iterator[RoleDefinition | RoleProblem]:
    agents = layer.values.get("agents")
    for key, table in agents.items() if isinstance(agents, dict) else ():
        if key in AGENTS.keys or not isinstance(table, dict):
            continue
        try:
            yield replace(_from_table(key, table, layer, used), registered_at=layer.place(("agents", key)))
        except ConfigError as error:
            yield RoleProblem(key, error)


def _from_table(name: str, table: JSONObject, layer: Layer, used: set[Path]) -> RoleDefinition:
    place = layer.place(("agents", name))
    description = table.get("description")
    if isinstance(description, str) and not description.strip():
        raise ConfigError(f"{place}: agents.{name}.description is blank", hint="say in a line what the role is for")
    nicknames = _nicknames(table.get("nickname_candidates"), f"{place}: agents.{name}.nickname_candidates")
    named = table.get("config_file")
    if not isinstance(named, str):
        return RoleDefinition(
            name, str(description) if isinstance(description, str) else None, {}, nicknames, layer=layer
        )
    path = resolve_path(named, layer.base)
    used.add(path.resolve())
    _refuse_cycles(path, ())
    role = _read(
        path,
        layer,
        default_name=name,
        named_at=f"{layer.place(('agents', name, 'config_file'))}: agents.{name}.config_file",
    )
    return replace(
        role,
        description=role.description
        if role.description is not None
        else description
        if isinstance(description, str)
        else None,
        nicknames=role.nicknames or nicknames,
    )


def _discovered(layer: Layer, used: set[Path]) -> Iterator[RoleDefinition | RoleProblem]:
    folder = layer.agents_folder
    if folder is None or not folder.is_dir():
        return
    for path in sorted(path for path in folder.rglob("*.toml")):
        if path.resolve() in used:
            continue
        try:
            yield _read(path, layer, discovered=True)
        except ConfigError as error:
            yield _unusable(path, layer, error)


def _unusable(path: Path, layer: Layer, error: ConfigError) -> RoleProblem:
    """Return the problem of a broken, unregistered file: of a role if it contains a name, else of no role."""
    name = _name_in(path)
    if name is not None:
        return RoleProblem(name, error)
    unregistered = f"{error}; no config.toml registers the file"
    if path.stem not in BUNDLED_ROLES:
        return RoleProblem(None, ConfigError(f"{unregistered}, so it is not used"))
    first = "add `name`" if "`name`" in str(error) else "correct it and add `name`"
    way = f'register it: [agents.{path.stem}] with config_file = "{_from(path, layer)}"'
    used = f"so the built-in {path.stem} is used. To use the file, {first}, or {way}"
    return RoleProblem(None, ConfigError(f"{unregistered}, {used}"))


def _from(path: Path, layer: Layer) -> str:
    return str(path.relative_to(layer.base)) if path.is_relative_to(layer.base) else str(path)


#: A line that gives a role file's name, also in a file that is not TOML: the quote may be missing.
_NAME_LINE = re.compile(r"""^\s*name\s*=\s*["']?([^"'\s#][^"'\n]*)""", re.MULTILINE)


def _name_in(path: Path) -> str | None:
    """Return the name that a broken file gives itself, where that can still be read."""
    try:
        content = read_bytes(path) or b""
    except ConfigError:
        return None
    try:
        name = parse_toml(content, str(path)).values.get("name")
    except ConfigError:
        found = _NAME_LINE.search(content.decode("utf-8", errors="replace"))
        name = found[1].strip() if found else None
    return name if isinstance(name, str) and name.strip() else None


def _read(
    path: Path, layer: Layer, *, default_name: str | None = None, discovered: bool = False, named_at: str = ""
) -> RoleDefinition:
    content = read_bytes(path)
    if content is None:
        raise ConfigError(
            f"{named_at or path}: there is no file {path}",
            hint="relative paths start from the folder of the file that names them",
        )
    file = parse_toml(content, str(path))
    found = check(file.values, ROLE_FILE)
    if found.problems:
        raise refuse([(file.place(problem.path), problem) for problem in found.problems])
    name = _filled(file, "name") or default_name
    description = _filled(file, "description")
    instructions = _filled(file, "developer_instructions")
    needed = {"name": name} | (
        {"description": description, "developer_instructions": instructions} if discovered else {}
    )
    for key, value in needed.items():
        if value is None:
            raise ConfigError(f"{path}: the role file has no `{key}`", hint=f'add {key} = "..."')
    values = {
        key: value for key, value in file.values.items() if key not in {"name", "description", "nickname_candidates"}
    }
    return RoleDefinition(
        name=str(name),
        description=description,
        values=values,
        nicknames=_nicknames(
            file.values.get("nickname_candidates"), f"{file.place(('nickname_candidates',))}: nickname_candidates"
        ),
        file=file,
        path=path,
        digest=hashlib.sha256(content).hexdigest(),
        layer=layer,
        unknown=tuple((file.place(problem.path), problem) for problem in found.unknown),
    )


def _filled(file: TomlText, key: str) -> str | None:
    value = file.values.get(key)
    if not isinstance(value, str):
        return None
    if not value.strip():
        raise ConfigError(f"{file.place((key,))}: {key} is blank", hint=f"give `{key}` a text, or remove it")
    return value.strip() if key == "name" else value


def _nicknames(value: JSONValue, label: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    names = [str(name).strip() for name in value]
    if not names:
        raise ConfigError(f"{label}: found an empty list, at least one name is expected")
    for name in names:
        if not name:
            raise ConfigError(f"{label}: found a blank name")
        if not _NICKNAME.issuperset(name):
            raise ConfigError(
                f"{label}: found `{name}`; ASCII letters, digits, spaces, hyphens and underscores are allowed"
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"{label}: found the same name twice")
    return tuple(names)


def _refuse_cycles(path: Path, above: tuple[Path, ...]) -> None:
    """Follow the `config_file`s that role files name in turn; Codex ignores those, a cycle of them is a mistake."""
    here = path.resolve()
    if here in above:
        names = " -> ".join(str(step) for step in (*above[above.index(here) :], here))
        raise ConfigError(
            f"{here}: config_file leads back to itself: {names}", hint="remove one of the config_file keys"
        )
    try:
        content = read_bytes(here)
        values = parse_toml(content, str(here)).values if content is not None else {}
    except ConfigError:
        return  # what is wrong with it is said where it is read
    agents = values.get("agents")
    for table in agents.values() if isinstance(agents, dict) else ():
        named = table.get("config_file") if isinstance(table, dict) else None
        if isinstance(named, str):
            _refuse_cycles(resolve_path(named, here.parent), (*above, here))
