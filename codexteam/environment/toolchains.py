"""Which version of a language a repository asks for, and which file says so.

Only what is a version counts: a channel (`nightly-2025-05-01`) or the name of an environment (`my-env2`) is none,
whatever digits are in it.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.environment.repository_view import RepositoryView

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

#: What an image is taken in where nothing asks for another, newest last.
PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
PYTHON_DEFAULT = "3.12"
NODE_LTS = (16, 18, 20, 22, 24)
NODE_DEFAULT = 22
_NODE_NAMES = {"gallium": 16, "hydrogen": 18, "iron": 20, "jod": 22, "krypton": 24}
GO_DEFAULT = "1.24"
RUST_DEFAULT = "1.87"
RUBY_DEFAULT = "3.4"
JAVA_DEFAULT = 21
JAVA_MIDDLE = 17
JAVAS = (8, 11, 17, 21)
DOTNET_DEFAULT = "8.0"
ELIXIR_DEFAULT = "1.18"
PERL_DEFAULT = "5.40"

_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(?:\d+|x|\*))?")
_MISE_FILES = ("mise.toml", ".mise.toml", ".config/mise.toml", ".config/mise/config.toml", "mise/config.toml")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version for an image's tag, where it stands, and what could not be followed."""

    version: str
    source: str = ""
    """A file; empty for the default."""
    notice: str = ""


def version_of(word: str) -> tuple[int, int | None] | None:
    """Return major and minor of a version; None for anything else."""
    found = _VERSION.fullmatch(word.strip().removeprefix("="))
    return None if found is None else (int(found[1]), None if found[2] is None else int(found[2]))


def _dotted(version: tuple[int, int | None]) -> str:
    return str(version[0]) if version[1] is None else f"{version[0]}.{version[1]}"


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        plain = line.partition("#")[0].strip()
        if plain:
            yield plain


def _pinned(view: RepositoryView, files: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return what a language's own version files say, then `.tool-versions` and mise: words and files, the first first."""
    for path in files:
        for line in _lines(view.text(path)):
            yield line, path
    for line in _lines(view.text(".tool-versions")):
        tool, *words = line.split()
        if tool in names:
            yield from ((word, ".tool-versions") for word in words)
    for path in _MISE_FILES:
        tools = view.toml(path).get("tools")
        for name in names:
            yield from ((word, path) for word in _mise_words(_dig(tools, name)))


def _mise_words(value: JSONValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case int() | float():
            yield str(value)
        case dict():
            yield from _mise_words(value.get("version"))
        case list():
            for each in value:
                yield from _mise_words(each)
        case None:
            return


def _first(pinned: Iterator[tuple[str, str]]) -> tuple[tuple[int, int | None], str] | None:
    for word, path in pinned:
        version = version_of(word)
        if version is not None:
            return version, path
    return None


def _in_ci(view: RepositoryView, key: str) -> list[tuple[int, int | None]]:
    """Return the versions that workflows name for a language, as `go-version: '1.24'` or in a matrix, lowest first."""
    found: set[tuple[int, int | None]] = set()
    for path in view.below(".github/workflows", ".yml", ".yaml"):
        text = view.text(path)
        for match in re.finditer(
            rf"(?:^\s*-?\s*|[{{,]\s*)[\"']?(?:{key})s?[\"']?:(.*(?:\n\s+-\s[^:\n]*$)*)", text, re.MULTILINE
        ):
            for word in re.findall(r"[\w.*${}/+-]+", match[1]):
                version = version_of(word)
                if version is not None:
                    found.add(version)
    return sorted(found, key=lambda version: (version[0], version[1] or 0))


# Python


def python(view: RepositoryView) -> Wanted:
    """Return the Python to use: the one that is named, else the newest one that is allowed and was tested."""
    pinned = (
        (word.removeprefix("cpython-").removeprefix("python-"), path)
        for word, path in _pinned(view, (".python-version",), ("python",))
    )
    named = _first(pinned)
    if named is not None and named[0][1] is not None:
        return Wanted(_dotted(named[0]), named[1])
    spec, source = _requires_python(view)
    allowed = [each for each in PYTHONS if spec is None or spec.contains(f"{each}.99", prereleases=True)]
    tested = _tested_pythons(view)
    for known, why in ((tested, "what the project is tested on"), (PYTHONS, "")):
        both = [each for each in allowed if each in known]
        if both and PYTHON_DEFAULT not in both:
            return Wanted(both[-1] if known is tested else _nearest(both), source or why)
        if both and known is tested:
            return Wanted(both[-1], source or why)
    if not allowed:
        return Wanted(PYTHON_DEFAULT, "", f"{source} asks for Python {spec}, which none of {', '.join(PYTHONS)} is")
    return Wanted(PYTHON_DEFAULT, source)


def _nearest(allowed: Sequence[str]) -> str:
    """Return the allowed one next to the default: neither the oldest nor one that nobody may have tried yet."""
    default = PYTHONS.index(PYTHON_DEFAULT)
    return min(allowed, key=lambda each: abs(PYTHONS.index(each) - default))


def _requires_python(view: RepositoryView) -> "tuple[SpecifierSet | None, str]":
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    for text, source in _python_specs(view):
        try:
            return SpecifierSet(text), source
        except InvalidSpecifier:
            continue
    return None, ""


def _python_specs(view: RepositoryView) -> Iterator[tuple[str, str]]:
    found = view.toml("pyproject.toml")
    project = found.get("project")
    if isinstance(project, dict) and isinstance(text := project.get("requires-python"), str):
        yield text, "pyproject.toml requires-python"
    poetry = _dig(found, "tool", "poetry", "dependencies", "python")
    if isinstance(poetry, str):
        yield _plain_specifiers(poetry), "pyproject.toml tool.poetry.dependencies.python"
    pipfile = _dig(view.toml("Pipfile"), "requires", "python_version")
    if isinstance(pipfile, str):
        yield f"=={pipfile}.*", "Pipfile"
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(view.text("setup.cfg"))
        yield parser.get("options", "python_requires", fallback="?"), "setup.cfg python_requires"
    except ConfigParserError:
        pass  # its own tools say what is wrong with it
    for match in re.finditer(r"""python_requires\s*=\s*["']([^"']+)["']""", view.text("setup.py")):
        yield match[1], "setup.py python_requires"
    for match in re.finditer(r"^python-(\d+\.\d+)", view.text("runtime.txt"), re.MULTILINE):
        yield f"=={match[1]}.*", "runtime.txt"


def _plain_specifiers(text: str) -> str:
    """Return Poetry's caret and tilde as PEP 440 says them."""
    parts = []
    for part in text.replace("||", ",").split(","):
        word = part.strip()
        version = version_of(word[1:]) if word[:1] in {"^", "~"} else None
        if version is None:
            parts.append(f"=={word}.*" if version_of(word) and "*" not in word else word)
        elif word[0] == "^":
            parts.append(f">={_dotted(version)},<{version[0] + 1}")
        else:
            parts.append(f"=={_dotted(version)}.*")
    return ",".join(parts)


def _tested_pythons(view: RepositoryView) -> list[str]:
    classifiers = re.findall(r"Programming Language :: Python :: (3\.\d+)", "".join(map(view.text, _PYTHON_META)))
    versions = [*classifiers, *map(_dotted, _in_ci(view, "python-version"))]
    return sorted({each for each in versions if each in PYTHONS}, key=PYTHONS.index)


_PYTHON_META = ("pyproject.toml", "setup.cfg", "setup.py")


def _dig(value: JSONValue, *keys: str) -> JSONValue:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


# Node


def node(view: RepositoryView) -> Wanted:
    """Return the major version of Node."""
    for word, path in _pinned(view, (".nvmrc", ".node-version"), ("node", "nodejs")):
        major = _node_word(word)
        if major is not None:
            return Wanted(str(major), path)
    package = _json(view, "package.json")
    engine = _dig(package, "devEngines", "runtime")
    ranges = [
        (_dig(engine, "version") if _dig(engine, "name") == "node" else None, "package.json devEngines.runtime"),
        (_dig(package, "volta", "node"), "package.json volta.node"),
        (_dig(package, "engines", "node"), "package.json engines.node"),
    ]
    notice = ""
    for text, source in ranges:
        if isinstance(text, str) and text.strip():
            fitting = [major for major in NODE_LTS if node_fits(text, major)]
            if NODE_DEFAULT in fitting:
                return Wanted(str(NODE_DEFAULT), source)
            if fitting:
                return Wanted(str(fitting[-1]), source)
            exact = [version[0] for word in text.split() if (version := version_of(word.lstrip("^~>=<v")))]
            if exact and exact[0] > 0:
                return Wanted(str(exact[0]), source)
            notice = f"{source}: {text[:60]!r} is not a valid range"
    tested = [version[0] for version in _in_ci(view, "node-version")]
    if tested and NODE_DEFAULT not in tested:
        return Wanted(str(tested[-1]), "what the project is tested on", notice)
    return Wanted(str(NODE_DEFAULT), "", notice)


def _node_word(word: str) -> int | None:
    kind, _, name = word.casefold().partition("/")
    if kind in {"lts", "node", "stable", "latest"}:
        return _NODE_NAMES.get(name, NODE_DEFAULT) if kind == "lts" else NODE_DEFAULT
    version = version_of(word)
    return None if version is None else version[0]


def node_fits(text: str, major: int) -> bool:
    """Return whether the newest release of a major version is in an npm range."""
    return any(_all_fit(part, major) for part in text.split("||"))


def _all_fit(part: str, major: int) -> bool:
    hyphen = re.fullmatch(r"\s*v?(\S+)\s+-\s+v?(\S+)\s*", part)
    if hyphen:
        part = f">={hyphen[1]} <={hyphen[2]}"
    words = re.findall(r"(>=|<=|>|<|\^|~|=)?\s*v?(\d+(?:\.[\dx*]+)*|[*x])", part)
    if not words or re.sub(r"(>=|<=|>|<|\^|~|=)?\s*v?(\d+(?:\.[\dx*]+)*(?:-[\w.]+)?|[*x])", "", part).strip():
        return part.strip() == ""
    return all(_fits(sign, version, major) for sign, version in words)


def _fits(sign: str, version: str, major: int) -> bool:
    numbers = [int(each) for each in version.split(".") if each.isdigit()]
    if not numbers:
        return True
    wanted = numbers[0]
    match sign:
        case ">=":
            return major >= wanted
        case ">":
            return major > wanted or (major == wanted and len(numbers) > 1)
        case "<":
            return major < wanted
        case "<=":
            return major < wanted or (major == wanted and len(numbers) == 1)
        case _:
            return major == wanted


def _json(view: RepositoryView, path: str) -> JSONObject:
    try:
        found = json.loads(view.text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# the others


def go(view: RepositoryView) -> Wanted:
    """Return the Go to use. `go.mod` says the least that is needed; its toolchain and the project's CI say more."""
    toolchain = re.compile(r"^toolchain go(\d+\.\d+)", re.MULTILINE)
    least = re.compile(r"^go (\d+\.\d+)", re.MULTILINE)
    for path in ("go.work", "go.mod"):
        if found := toolchain.search(view.text(path)):
            return Wanted(found[1], f"{path} toolchain")
    named = _first(_pinned(view, (".go-version",), ("go", "golang")))
    if named is not None:
        return Wanted(_dotted(named[0]), named[1])
    needed = [
        (version_of(found[1]), path) for path in ("go.work", "go.mod") for found in least.finditer(view.text(path))
    ]
    most = max(((version, path) for version, path in needed if version), key=lambda each: _order(each[0]), default=None)
    tested = _in_ci(view, "go-version")
    if tested and (most is None or _order(tested[-1]) >= _order(most[0])):
        return Wanted(_dotted(tested[-1]), "what the project is tested on")
    default = version_of(GO_DEFAULT)
    if most is not None and default is not None and _order(most[0]) > _order(default):
        return Wanted(_dotted(most[0]), most[1])
    return Wanted(GO_DEFAULT, f"{most[1]} asks for {_dotted(most[0])} or newer" if most else "")


def _order(version: tuple[int, int | None]) -> tuple[int, int]:
    return version[0], version[1] if version[1] is not None else 999


def rust(view: RepositoryView) -> Wanted:
    """Return the Rust to use. A channel other than stable is not an image's: it is said."""
    channel, source = _rust_channel(view)
    version = version_of(channel) if channel else None
    if version is not None and version[1] is not None:
        return Wanted(_dotted(version), source)
    notice = ""
    if channel and channel != "stable":
        notice = f"{source} asks for {channel}; the image has stable Rust: [codexteam.sandbox] image names another"
    least = _dig(view.toml("Cargo.toml"), "package", "rust-version")
    least = least if isinstance(least, str) else _dig(view.toml("Cargo.toml"), "workspace", "package", "rust-version")
    needed = version_of(least) if isinstance(least, str) else None
    default = version_of(RUST_DEFAULT)
    if needed is not None and default is not None and _order(needed) > _order(default):
        return Wanted(_dotted(needed), "Cargo.toml rust-version", notice)
    return Wanted(RUST_DEFAULT, "", notice)


def _rust_channel(view: RepositoryView) -> tuple[str, str]:
    for path in ("rust-toolchain.toml", "rust-toolchain"):
        channel = _dig(view.toml(path), "toolchain", "channel")
        if isinstance(channel, str):
            return channel.strip(), path
    plain = next(_lines(view.text("rust-toolchain")), "")
    if plain and not plain.startswith("["):
        return plain, "rust-toolchain"
    return next(_pinned(view, (), ("rust",)), ("", ""))


def ruby(view: RepositoryView) -> Wanted:
    """Return the Ruby to use."""
    words = ((word.removeprefix("ruby-"), path) for word, path in _pinned(view, (".ruby-version",), ("ruby",)))
    named = _first(words)
    if named is None:
        found = re.search(r"""^\s*ruby\s+["']~?>?=?\s*(\d+\.\d+)""", view.text("Gemfile"), re.MULTILINE)
        return Wanted(found[1], "Gemfile") if found else Wanted(RUBY_DEFAULT)
    return Wanted(_dotted(named[0]), named[1])


def java(view: RepositoryView) -> Wanted:
    """Return the Java to use, one with long support. What code is compiled for says the least that is needed."""
    words = ((re.sub(r"^[a-z]+-", "", word), path) for word, path in _pinned(view, (".java-version",), ("java",)))
    for word, path in words:
        found = re.match(r"(?:1\.)?(\d+)", word)
        if found and int(found[1]) in JAVAS:
            return Wanted(found[1], path)
    target = re.search(r"<(?:maven\.compiler\.(?:release|source)|java\.version)>\s*(?:1\.)?(\d+)", view.text("pom.xml"))
    least = int(target[1]) if target else 0
    tested = {version[0] for version in _in_ci(view, "java-version|java|jdk")}
    both = [each for each in JAVAS if each >= least and each in tested]
    if both:
        # of those that the project is tested on the one that most tools of its time run on
        return Wanted(str(JAVA_MIDDLE if JAVA_MIDDLE in both else both[-1]), "what the project is tested on")
    if target:
        enough = [each for each in JAVAS if each >= least]
        return Wanted(str(enough[0] if enough else JAVA_DEFAULT), "pom.xml")
    return Wanted(str(JAVA_DEFAULT))


def dotnet(view: RepositoryView) -> Wanted:
    """Return the .NET SDK to use."""
    version = _dig(_json(view, "global.json"), "sdk", "version")
    found = version_of(version.partition("-")[0]) if isinstance(version, str) else None
    return Wanted(f"{found[0]}.{found[1] or 0}", "global.json") if found else Wanted(DOTNET_DEFAULT)


def elixir(view: RepositoryView) -> Wanted:
    """Return the Elixir to use; `mix.exs` says the least that is needed."""
    words = ((re.sub(r"-otp-\d+$", "", word), path) for word, path in _pinned(view, (), ("elixir",)))
    named = _first(words)
    return Wanted(_dotted(named[0]), named[1]) if named is not None else Wanted(ELIXIR_DEFAULT)


def perl(view: RepositoryView) -> Wanted:
    """Return the Perl to use; manifests say the least that is needed."""
    named = _first(_pinned(view, (".perl-version",), ("perl",)))
    return Wanted(_dotted(named[0]), named[1]) if named is not None else Wanted(PERL_DEFAULT)


VersionChoice = Callable[[RepositoryView], Wanted]
