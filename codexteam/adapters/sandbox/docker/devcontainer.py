"""A repository's devcontainer: the part of it that an image can be made of, and the names of all that is not used."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.documents import without_comments
from codexteam.environment.repository_view import RepositoryView
from codexteam.errors import ConfigError
from codexteam.ports.sandbox import WORKSPACE

_PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
_FOLDER = ".devcontainer"
_NAME = "devcontainer.json"
#: What would change what is there, or how it runs, and is not done.
_UNUSED = (
    *("features", "dockerComposeFile", "runArgs", "mounts", "workspaceMount", "privileged", "capAdd", "securityOpt"),
    *("initializeCommand", "onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand"),
    *("containerEnv", "remoteEnv"),
)
#: Features that bring no toolchain.
_PLAIN_FEATURES = frozenset({"common-utils", "git", "git-lfs", "github-cli", "sshd", "docker-in-docker"})
_VARIABLE = re.compile(r"\$\{(\w+)(?::([^}:]*))?(?::([^}]*))?\}")
_HINT = "correct it, or set [codexteam.sandbox] image"


@dataclass(frozen=True, slots=True)
class Devcontainer:
    """What a devcontainer asks for."""

    path: str
    image: str | None = None
    dockerfile: str | None = None
    """Relative to the repository's root."""
    context: str = ""
    target: str | None = None
    arguments: tuple[tuple[str, str], ...] = ()
    lacks_toolchain: bool = False
    """Whether the tools are in what is not used: features, or the services of a compose file."""
    notices: tuple[str, ...] = ()


def devcontainer_paths(view: RepositoryView) -> tuple[str, ...]:
    """Return the devcontainer that counts, or all of them where somebody must choose."""
    for path in _PLACES:
        if view.read(path) is not None:
            return (path,)
    return tuple(
        path for path in view.below(_FOLDER, f"/{_NAME}") if path.count("/") == 2 and view.read(path) is not None
    )


def read_devcontainer(view: RepositoryView, path: str, environment: Mapping[str, str]) -> Devcontainer:
    """Read one.

    Args:
        view: the repository.
        path: where it is.
        environment: the user's variables that it may see.

    Raises:
        ConfigError: it cannot be read, or names what lies outside the repository.
    """
    found = _parsed(path, view.read(path) or b"")
    variables = _Variables(path, environment)
    build = found.get("build")
    options: JSONObject = build if isinstance(build, dict) else {}
    dockerfile = variables.resolved(options.get("dockerfile", found.get("dockerFile")))
    context = variables.resolved(options.get("context", found.get("context", ".")))
    image = variables.resolved(found.get("image"))
    arguments = options.get("args")
    given = arguments.items() if isinstance(arguments, dict) else ()
    pairs = [(key, variables.resolved(_word(value))) for key, value in given]
    unused = [key for key in _UNUSED if found.get(key)]
    notices = [f"{path}: {', '.join(unused)} not used"] if unused else []
    notices += variables.notices
    if dockerfile is None:
        return Devcontainer(
            path, image or None, lacks_toolchain=_lacks_toolchain(found), notices=tuple(dict.fromkeys(notices))
        )
    return Devcontainer(
        path,
        dockerfile=_inside(path, dockerfile),
        context=_inside(path, context or "."),
        target=variables.resolved(options.get("target")),
        arguments=tuple((key, value) for key, value in pairs if value is not None),
        notices=tuple(dict.fromkeys(notices + variables.notices)),
    )


def _parsed(path: str, data: bytes) -> JSONObject:
    try:
        found: JSONValue = json.loads(without_comments(data.decode("utf-8-sig")))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=_HINT) from error
    except RecursionError:
        raise ConfigError(f"{path} cannot be read: its values are nested too deeply", hint=_HINT) from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no object", hint=_HINT)
    return found


def _lacks_toolchain(found: JSONObject) -> bool:
    if found.get("dockerComposeFile"):
        return True
    features = found.get("features")
    names = (_feature_name(key) for key in features) if isinstance(features, dict) else ()
    return any(name not in _PLAIN_FEATURES for name in names)


def _feature_name(key: str) -> str:
    """Return the name in `ghcr.io/devcontainers/features/go:1`."""
    return key.rpartition("/")[2].partition(":")[0].partition("@")[0]


def _word(value: JSONValue) -> JSONValue:
    """Return a build argument as text."""
    return value if isinstance(value, str) or value is None else json.dumps(value)


@dataclass(slots=True)
class _Variables:
    path: str
    environment: Mapping[str, str]
    notices: list[str] = field(default_factory=list)

    def resolved(self, value: JSONValue) -> str | None:
        """Return a text with its variables replaced; None where there is no text, or a variable has no value here."""
        if not isinstance(value, str):
            return None
        whole = True

        def replaced(match: re.Match[str]) -> str:
            nonlocal whole
            found = self._value(match[1], match[2] or "", match[3])
            whole = whole and found is not None
            return found or ""

        text = _VARIABLE.sub(replaced, value)
        return text if whole else None

    def _value(self, kind: str, name: str, default: str | None) -> str | None:
        if kind in {"localEnv", "env"}:
            known = self.environment.get(name, default)
            if known is None or (name not in self.environment):
                then = "so what it stands in is not used" if known is None else f"so it is its default {known!r}"
                self.notices.append(
                    f"{self.path}: ${{{kind}:{clean_line(name)}}} is not passed on, {clean_line(then)}; "
                    "[codexteam.sandbox] environment names what is"
                )
            return known
        folders = {"containerWorkspaceFolder": WORKSPACE, "containerWorkspaceFolderBasename": WORKSPACE.strip("/")}
        if kind in folders:
            return folders[kind]
        self.notices.append(f"{self.path}: ${{{kind}}} has no value here, so what it stands in is not used")
        return None


def _inside(path: str, relative: str) -> str:
    """Return a path that stands in a devcontainer file, relative to the repository's root."""
    parts: list[str] = []
    for part in (PurePosixPath(path).parent / relative).parts:
        if part == ".." and parts:
            parts.pop()
        elif part in ("..", "/"):
            raise ConfigError(f"{path}: {relative} lies outside the repository")
        else:
            parts.append(part)
    return "/".join(parts)


def unused_places(view: RepositoryView) -> Iterator[str]:
    """Say that somebody must choose between several devcontainers."""
    paths = devcontainer_paths(view)
    if len(paths) > 1:
        yield (
            f"{', '.join(paths)}: none of these is used, since there are several; "
            "[codexteam.sandbox] image or dockerfile says which"
        )
