"""Which image a repository's sandboxes get, and why: a decision over file contents, without an engine."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from codexteam.adapters.sandbox.docker.devcontainer import (
    Devcontainer,
    devcontainer_paths,
    read_devcontainer,
    unused_places,
)
from codexteam.config.settings import SandboxSettings
from codexteam.environment import toolchains
from codexteam.environment.repository_view import RepositoryView
from codexteam.environment.toolchains import VersionChoice
from codexteam.errors import ConfigError

PLAIN = "buildpack-deps:bookworm-scm"
#: With compilers and make.
COMPILERS = "buildpack-deps:bookworm"


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


ImageChoice: TypeAlias = Pulled | Built


def choose(
    settings: SandboxSettings, view: RepositoryView, *, trusted: bool, environment: Mapping[str, str] | None = None
) -> ImageChoice:
    """Choose: the image from configuration, else the devcontainer, else the Dockerfile, else by language.

    Args:
        settings: `[codexteam.sandbox]`.
        view: the repository at the base commit.
        trusted: whether the repository's own word counts: a devcontainer is code that runs on the engine.
        environment: the user's variables that `[codexteam.sandbox] environment` names.

    Raises:
        ConfigError: a file that was chosen cannot be used.
    """
    if settings.image is not None:
        return Pulled(settings.image, "[codexteam.sandbox] image")
    by_language = _by_language(view)
    notices = tuple(unused_places(view))
    paths = devcontainer_paths(view)
    if len(paths) == 1 and not trusted:
        notices = (f"{paths[0]} is not used: the project is not trusted",)
    elif len(paths) == 1:
        found = read_devcontainer(view, paths[0], environment or {})
        choice = _of_devcontainer(found, language=by_language is not None)
        if choice is not None:
            return choice
        notices = (*found.notices, f"{found.path} is not used: {_why_not(found)}")
    if settings.dockerfile is not None:
        if view.read(settings.dockerfile) is None:
            raise ConfigError(
                f"[codexteam.sandbox] dockerfile: there is no {settings.dockerfile} at the base commit",
                hint="commit it, or correct the path (relative to the repository's root)",
            )
        return Built(settings.dockerfile, "", "[codexteam.sandbox] dockerfile", notices=notices)
    if by_language is None:
        return Pulled(PLAIN, "no file of a known language; [codexteam.sandbox] image sets another", notices)
    return Pulled(by_language.reference, by_language.reason, (*notices, *by_language.notices))


def _of_devcontainer(found: Devcontainer, *, language: bool) -> ImageChoice | None:
    if found.dockerfile is not None:
        return Built(found.dockerfile, found.context, found.path, found.target, found.arguments, found.notices)
    # an image whose tools would come from features has none of them: that of the language has
    if found.image is None or (found.lacks_toolchain and language):
        return None
    return Pulled(found.image, found.path, found.notices)


def _why_not(found: Devcontainer) -> str:
    if found.image is not None:
        return "its tools come from features, which are not; the language's image has them"
    return "it names no image and no Dockerfile that can be used"


def _by_language(view: RepositoryView) -> Pulled | None:
    present = [(name, language) for name, language in _LANGUAGES if _is_there(view, name)]
    if all(name == "Makefile" for name, _ in present) and (found := _by_sources(view)) is not None:
        return found  # make runs anything, and is in each of the images
    if not present:
        return None
    first, language = present[0]
    wanted = language.toolchain(view)
    others = [name for name, other in present[1:] if other is not language]
    also = f"; {', '.join(others)} also there, set [codexteam.sandbox] image for an image with both" if others else ""
    said = f"{first}, {wanted.source}" if wanted.source and wanted.source != first else first
    return Pulled(language.image.format(wanted.version), f"{said}{also}", (wanted.notice,) if wanted.notice else ())


def _by_sources(view: RepositoryView) -> Pulled | None:
    """Choose by the language of most files, where no file says how anything is built."""
    suffixes = Counter(path.rpartition(".")[2] for path in view.paths)
    counts: Counter[_Language] = Counter()
    for suffix, spoken in _SOURCES.items():
        counts[spoken] += suffixes[suffix]
    language, count = counts.most_common(1)[0]
    if not count:
        return None
    first = min(path for path in view.paths if _SOURCES.get(path.rpartition(".")[2]) is language)
    wanted = language.toolchain(view)
    said = f"{first} and {count - 1} more of its language" if count > 1 else first
    return Pulled(language.image.format(wanted.version), said, (wanted.notice,) if wanted.notice else ())


def _is_there(view: RepositoryView, name: str) -> bool:
    if name.startswith("*"):
        return any("/" not in path and path.endswith(name[1:]) for path in view.paths)
    return view.read(name) is not None


@dataclass(frozen=True, slots=True)
class _Language:
    image: str
    toolchain: VersionChoice


_PYTHON = _Language("python:{}-bookworm", toolchains.python)
_NODE = _Language("node:{}-bookworm", toolchains.node)
_GO = _Language("golang:{}-bookworm", toolchains.go)
_MAVEN = _Language("maven:3-eclipse-temurin-{}", toolchains.java)
_GRADLE = _Language("gradle:8-jdk{}", toolchains.java)
_DOTNET = _Language("mcr.microsoft.com/dotnet/sdk:{}", toolchains.dotnet)
_PERL = _Language("perl:{}-bookworm", toolchains.perl)
_COMPILED = _Language(COMPILERS, lambda _view: toolchains.Wanted(""))
_RUST = _Language("rust:{}-bookworm", toolchains.rust)
_RUBY = _Language("ruby:{}-bookworm", toolchains.ruby)
#: In order: what comes first is chosen.
_LANGUAGES: tuple[tuple[str, _Language], ...] = (
    ("pyproject.toml", _PYTHON),
    ("setup.py", _PYTHON),
    ("setup.cfg", _PYTHON),
    ("requirements.txt", _PYTHON),
    ("Pipfile", _PYTHON),
    ("package.json", _NODE),
    ("go.work", _GO),
    ("go.mod", _GO),
    ("Cargo.toml", _RUST),
    ("pom.xml", _MAVEN),
    ("build.gradle", _GRADLE),
    ("build.gradle.kts", _GRADLE),
    ("Gemfile", _RUBY),
    ("global.json", _DOTNET),
    ("*.sln", _DOTNET),
    ("*.csproj", _DOTNET),
    ("mix.exs", _Language("elixir:{}", toolchains.elixir)),
    *((name, _PERL) for name in ("cpanfile", "Makefile.PL", "Build.PL", "dist.ini")),
    *((name, _COMPILED) for name in ("CMakeLists.txt", "meson.build", "configure", "configure.ac", "Makefile")),
)
#: By what source files end with.
_SOURCES: Mapping[str, _Language] = {
    "py": _PYTHON,
    "js": _NODE,
    "mjs": _NODE,
    "ts": _NODE,
    "go": _GO,
    "rs": _RUST,
    "rb": _RUBY,
    "pl": _PERL,
    "pm": _PERL,
    "c": _COMPILED,
    "cc": _COMPILED,
    "cpp": _COMPILED,
}
