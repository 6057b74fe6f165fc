"""Which image a repository's sandboxes get, and why: a decision over file contents, without an engine."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from codexteam.config.settings import SandboxSettings
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.errors import ConfigError

Read: TypeAlias = Callable[[str], bytes | None]
"""Gives a file at the base commit by its path; None when there is none."""

DEVCONTAINERS = (".devcontainer/devcontainer.json", ".devcontainer.json")
PYTHON, NODE, GO, RUST, JAVA, RUBY = (
    "python:{}-bookworm",
    "node:{}-bookworm",
    "golang:{}-bookworm",
    "rust:{}-bookworm",
    "maven:{}",
    "ruby:{}-bookworm",
)
PLAIN = "buildpack-deps:bookworm-scm"
_GO_DEFAULT, _RUST_DEFAULT, _NODE_DEFAULT, _PYTHON_DEFAULT = "1.24", "1.87", "22", "3.12"
_VERSION = re.compile(r"\d+(\.\d+)?")
#: What a setup script's result depends on, besides the image and the script.
LOCK_FILES = (
    *(
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "Pipfile.lock",
        "requirements.txt",
        "requirements-dev.txt",
        "pyproject.toml",
    ),
    *(
        "package.json",
        "package-lock.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "go.mod",
        "go.sum",
        "Cargo.toml",
        "Cargo.lock",
    ),
    *("Gemfile", "Gemfile.lock", "composer.lock", "pom.xml", "build.gradle", "build.gradle.kts", "gradle.lockfile"),
)


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image by its name: one that is on the engine, else one to pull."""

    reference: str
    reason: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is built from a Dockerfile of the repository."""

    dockerfile: str
    """Relative to the repository's root."""
    context: str
    """The folder that the build sees; empty for the root."""
    reason: str
    target: str | None = None
    arguments: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()


Choice: TypeAlias = Pulled | Built


def choose(settings: SandboxSettings, read: Read, *, trusted: bool) -> Choice:
    """Choose: the image from configuration, else the devcontainer, else the Dockerfile, else by language.

    Args:
        settings: `[codexteam.sandbox]`.
        read: gives a file at the base commit.
        trusted: whether the repository's own word counts: a devcontainer is code that runs on the engine.

    Raises:
        ConfigError: a file that was chosen cannot be used.
    """
    if settings.image is not None:
        return Pulled(settings.image, "[codexteam.sandbox] image")
    notices: tuple[str, ...] = ()
    for path in DEVCONTAINERS:
        data = read(path)
        if data is None:
            continue
        if not trusted:
            notices = (f"{path} is not used: the project is not trusted",)
            break
        found = _devcontainer(path, data)
        if found is not None:
            return found
        notices = (f"{path} names no image and no Dockerfile that can be used",)
        break
    if settings.dockerfile is not None:
        if read(settings.dockerfile) is None:
            raise ConfigError(
                f"[codexteam.sandbox] dockerfile: there is no {settings.dockerfile} at the base commit",
                hint="commit it, or correct the path (relative to the repository's root)",
            )
        return Built(settings.dockerfile, "", "[codexteam.sandbox] dockerfile", notices=notices)
    reference, reason = _by_language(read)
    return Pulled(reference, reason, notices)


def _devcontainer(path: str, data: bytes) -> Choice | None:
    try:
        found = json.loads(strip_comments(data.decode("utf-8-sig")))
    except ValueError as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint="correct it, or set [codexteam.sandbox] image"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no object", hint="correct it, or set [codexteam.sandbox] image")
    ignored = [key for key in ("features", "onCreateCommand", "postCreateCommand", "dockerComposeFile") if key in found]
    notices = (f"{path}: {', '.join(ignored)} not used",) if ignored else ()
    build: JSONValue = found.get("build")
    options: JSONObject = build if isinstance(build, dict) else {}
    dockerfile = options.get("dockerfile", found.get("dockerFile"))
    if isinstance(dockerfile, str):
        context = options.get("context", found.get("context", "."))
        arguments = options.get("args")
        target = options.get("target")
        return Built(
            _inside(path, dockerfile),
            _inside(path, context if isinstance(context, str) else "."),
            path,
            target if isinstance(target, str) else None,
            tuple((key, str(value)) for key, value in arguments.items()) if isinstance(arguments, dict) else (),
            notices,
        )
    image = found.get("image")
    return Pulled(image, path, notices) if isinstance(image, str) and image else None


def _inside(path: str, relative: str) -> str:
    """Give a path that stands in a devcontainer file, relative to the repository's root."""
    parts: list[str] = []
    for part in (PurePosixPath(path).parent / relative).parts:
        if part == ".." and parts:
            parts.pop()
        elif part in ("..", "/"):
            raise ConfigError(f"{path}: {relative} lies outside the repository")
        else:
            parts.append(part)
    return "/".join(parts)


def _by_language(read: Read) -> tuple[str, str]:
    present = [name for name, _ in _LANGUAGES if read(name) is not None]
    if not present:
        return PLAIN, "no file of a known language at the root; [codexteam.sandbox] image sets another"
    first = present[0]
    image = dict(_LANGUAGES)[first](read)
    others = [name for name in present[1:] if name not in _SAME.get(first, ())]
    also = f"; {', '.join(others)} also there, set [codexteam.sandbox] image for an image with both" if others else ""
    return image, f"{first}{also}"


def _python(read: Read) -> str:
    pinned = _first_version(read(".python-version"))
    return PYTHON.format(pinned or _PYTHON_DEFAULT)


def _node(read: Read) -> str:
    pinned = _first_version(read(".nvmrc")) or _first_version(read(".node-version"))
    return NODE.format(pinned.split(".")[0] if pinned else _NODE_DEFAULT)


def _go(read: Read) -> str:
    found = re.search(rb"^go (\d+\.\d+)", read("go.mod") or b"", re.MULTILINE)
    return GO.format(found.group(1).decode() if found else _GO_DEFAULT)


def _rust(read: Read) -> str:
    data = read("rust-toolchain.toml")
    pinned = None
    if data is not None:
        try:
            pinned = _first_version(str(tomllib.loads(data.decode()).get("toolchain", {}).get("channel", "")).encode())
        except (ValueError, AttributeError):
            pinned = None
    return RUST.format(pinned or _RUST_DEFAULT)


def _first_version(data: bytes | None) -> str | None:
    found = _VERSION.search((data or b"").decode("utf-8", "replace").split("\n", 1)[0])
    return found.group() if found else None


#: In order: what comes first is chosen.
_LANGUAGES: tuple[tuple[str, Callable[[Read], str]], ...] = (
    ("pyproject.toml", _python),
    ("setup.py", _python),
    ("setup.cfg", _python),
    ("requirements.txt", _python),
    ("package.json", _node),
    ("go.mod", _go),
    ("Cargo.toml", _rust),
    ("pom.xml", lambda _: JAVA.format("3-eclipse-temurin-21")),
    ("Gemfile", lambda read: RUBY.format(_first_version(read(".ruby-version")) or "3.4")),
)
_PYTHON_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
_SAME = dict.fromkeys(_PYTHON_FILES, _PYTHON_FILES)


def strip_comments(text: str) -> str:
    """Give JSON out of JSON with comments and trailing commas; positions in lines stay."""
    pattern = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    plain = pattern.sub(lambda match: match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0]), text)
    comma = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
    return comma.sub(lambda match: match[0] if match[0].startswith('"') else " ", plain)
