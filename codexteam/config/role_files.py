"""Role files and role tables, found and read by Codex's rules: what is a role, what is not, and which one counts."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.config.bundled import BUNDLED_ROLES, bundled_role_file
from codexteam.config.codex_schema import AGENTS, ROLE_FILE
from codexteam.config.layers import Layer, LayerKind, resolve_path
from codexteam.config.schema import check
from codexteam.config.toml_file import TomlText, parse_toml, read_bytes
from codexteam.config.validation import refuse
from codexteam.core.json_types import JSONObject, JSONValue
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

    @property
    def built_in(self) -> bool:
        """Whether it ships with the program, and nobody changed it."""
        return self.layer is not None and self.layer.kind is LayerKind.BUILT_IN


@dataclass(frozen=True, slots=True)
class RoleProblem:
    """A definition that cannot be used."""

    name: str | None
    """The role it would be, as far as one can tell."""
    error: ConfigError


@dataclass(frozen=True, slots=True)
class Roles:
    """All roles, and what was dropped."""

    definitions: dict[str, RoleDefinition]
    problems: tuple[RoleProblem, ...]


def find_roles(layers: Iterable[Layer]) -> Roles:
    """Find the roles of all layers, lowest first; the shipped ones lie below them all."""
    definitions = {name: _shipped(name) for name in BUNDLED_ROLES}
    problems: list[RoleProblem] = []
    for layer in layers:
        own: dict[str, RoleDefinition] = {}
        used: set[Path] = set()
        for found in _declared(layer, used):
            _add(found, own, problems, f"declared twice in {layer.name}")
        for found in _discovered(layer, used):
            _add(found, own, problems, f"there is another one in {layer.agents_folder}")
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


def _add(
    found: RoleDefinition | RoleProblem, own: dict[str, RoleDefinition], problems: list[RoleProblem], twice: str
) -> None:
    if isinstance(found, RoleProblem):
        problems.append(found)
    elif found.name in own:
        # the first one counts, so the run has what it needs: no name, this is never fatal
        place = found.path or (found.layer.name if found.layer else "")
        problems.append(RoleProblem(None, ConfigError(f"{place}: duplicate role name `{found.name}`: {twice}")))
    else:
        own[found.name] = found


def _over(below: RoleDefinition, role: RoleDefinition) -> RoleDefinition:
    """Give a role over the one of a lower layer that it replaces: what it does not say is filled from below."""
    filled = replace(
        role,
        description=role.description if role.description is not None else below.description,
        nicknames=role.nicknames or below.nicknames,
    )
    if role.path is None:
        return replace(filled, values=below.values, file=below.file, path=below.path, digest=below.digest)
    return filled


def _shipped(name: str) -> RoleDefinition:
    path = bundled_role_file(name)
    layer = Layer(LayerKind.BUILT_IN, LayerKind.BUILT_IN.value, path.parent)
    return _read(path, layer)


def _declared(layer: Layer, used: set[Path]) -> Iterator[RoleDefinition | RoleProblem]:
    agents = layer.values.get("agents")
    for key, table in agents.items() if isinstance(agents, dict) else ():
        if key in AGENTS.keys or not isinstance(table, dict):
            continue
        try:
            yield _from_table(key, table, layer, used)
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
            yield RoleProblem(_name_in(path) or path.stem, error)


def _name_in(path: Path) -> str | None:
    """Give the name that a broken file gives itself, where that can still be read."""
    try:
        content = read_bytes(path)
        values = parse_toml(content or b"", str(path)).values
    except ConfigError:
        return None
    name = values.get("name")
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
    problems = [*found.problems, *found.unknown]
    if problems:
        raise refuse([(file.place(problem.path), problem) for problem in problems])
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
