"""Files that decide what a gate command does: those it names, and those its runner loads unasked.

The names are matched case-folded and in any folder: a runner may be started there, and Python, pytest, jest and make
look in folders above and below.
"""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as IniError
from fnmatch import fnmatchcase
from posixpath import basename, dirname, normpath

from codexteam.core.ids import JSONValue

#: Names that runners load, by the family of tools that does.
_LOADED: Mapping[str, tuple[str, ...]] = {
    "python": (
        "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "tox.toml", "noxfile.py",
        "setup.cfg", "pyproject.toml", ".coveragerc", "coverage.toml", "sitecustomize.py", "usercustomize.py", "*.pth", "*.pyc",
        "unittest.cfg", "nose2.cfg", "mypy.ini", ".mypy.ini", "ruff.toml", ".ruff.toml", ".flake8", ".pylintrc",
        "pylintrc", "pyrightconfig.json", ".importlinter", "hatch.toml", "uv.toml", "setup.py", "runtests.py",
    ),
    "node": (
        "package.json", "jest.config*", "jest.setup*", "jest-*.json", "jest.*.js", "jest.*.ts", "setuptests.*",
        "vitest.*", "vite.config*", ".mocharc*", "mocha.opts", "ava.config*", "karma.conf*", "playwright.config*",
        "cypress.config*", ".nycrc*", "nyc.config*", ".c8rc*", ".taprc", "babel.config*", ".babelrc*", "tsconfig*.json",
        ".swcrc", "eslint.config*", ".eslintrc*", ".eslintignore", ".stylelintrc*", "biome.json*", ".prettierrc*",
        "prettier.config*", ".prettierignore", "turbo.json", "nx.json", "lerna.json", "bunfig.toml", "deno.json*",
        "wallaby*", ".pnp.*js", "gulpfile*", "gruntfile*",
    ),
    "make": (
        "makefile", "makefile.am", "makefile.in*", "makefile.common", "makefile.local", "gnumakefile", "*.mk", "cmakelists.txt",
        "*.cmake", "cmakepresets.json", "ctest*", "meson.build", "build.ninja", "sconstruct", "wscript",
    ),
    "task": ("justfile", ".justfile", "*.just", "taskfile*.y*ml", "earthfile", "dodo.py", "tasks.py", "fabfile.py",
             "magefile*.go", "procfile", "mise.toml", ".mise.toml", "dagger.json", "pavement.py"),
    "ruby": ("rakefile*", "*.rake", ".rspec", "spec_helper.rb", "rails_helper.rb", "test_helper.rb", "gemfile",
             ".rubocop.yml", ".simplecov", "guardfile"),
    "rust": ("cargo.toml", "build.rs", "clippy.toml", ".clippy.toml", "rustfmt.toml", "rust-toolchain*", "nextest.toml"),
    "go": (".golangci.*", "go.work"),
    "jvm": ("build.gradle*", "settings.gradle*", "gradle.properties", "gradlew*", "pom.xml", "mvnw*", "build.sbt",
            "build.xml", "junit-platform.properties", "testng.xml", "checkstyle*.xml", "deps.edn", "project.clj"),
    "php": ("phpunit*.xml*", "phpstan*", "psalm.xml*", "composer.json", "pest.php", ".php-cs-fixer*"),
    "other": ("directory.build.*", "*.runsettings", "xunit.runner.json", "mix.exs", "test_helper.exs", ".shellcheckrc",
              "workspace", "module.bazel", ".bazelrc", "build.bazel", "package.swift", "dune-project", "stack.yaml"),
}  # fmt: skip

#: CI files as a whole, and folders of installed packages, from which runners come.
_FOLDERS = (
    ".github/workflows", ".circleci", ".ci", ".buildkite", ".gitlab", ".githooks", "node_modules", "site-packages", ".venv",
    "venv", ".mvn", ".cargo", ".config/nextest", ".tox", ".nox",
)  # fmt: skip
_FILES = (
    ".gitlab-ci*.yml",
    "azure-pipelines*.yml",
    "jenkinsfile*",
    ".pre-commit-config.yaml",
    ".travis.yml",
    "*.egg-info/*",
    "*.dist-info/*",
)

_WORDS = {
    "python": r"pytest|py\.test|unittest|python[\d.]*|tox|nox|nose2?|coverage|ruff|mypy|flake8|pylint|pyright|hatch|poetry"
    r"|uv|pdm|pip",
    "node": r"npm|npx|pnpm|yarn|bun|node|jest|vitest|mocha|ava|tsc|eslint|deno|playwright|cypress|turbo|nx|tap|prettier|biome",
    "make": r"g?make|cmake|ctest|ninja|meson|scons|waf",
    "task": r"just|task|invoke|inv|fab|mage|earthly|doit|mise|dagger|paver",
    "ruby": r"rake|rspec|ruby|bundle|rails|rubocop|minitest",
    "rust": r"cargo|rustc|rustfmt|clippy",
    "go": r"go|golangci-lint|gotestsum|staticcheck",
    "jvm": r"\.?/?gradlew?|mvnw?|java|sbt|ant|lein|clojure|clj|kotlinc?",
    "php": r"php|phpunit|composer|phpstan|psalm|pest",
    "other": r"dotnet|mix|bazel|swift|dune|stack|cabal|shellcheck",
}
_FAMILIES = {name: re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") for name, words in _WORDS.items()}
_STEPS = re.compile(
    r"(^|/)(\.?justfile|gnumakefile|makefile[^/]*|[^/]*\.mk|taskfile[^/]*|rakefile|package\.json|tox\.ini|noxfile\.py"
    r"|[^/]*\.(?:sh|bash|zsh))$"
)
_MODULE = re.compile(r"(?<!\w)-[mp][ =]?([A-Za-z_][\w.]*)")
_PLUGINS = re.compile(r"(?:pytest_plugins\s*=|(?<!\w)-p[ =]?)([^\n\])]*)")
_INCLUDES = re.compile(
    r"^(?:-?s?include|[ \t]*import)[ \t]+(.+)$|(?:^|[;&|{(])[ \t]*(?:\.|source)[ \t]+([^\s;&|]+)", re.MULTILINE
)
#: Configuration that names what a runner loads before the tests.
_SETUP = re.compile(
    r"(^|/)(jest\.|vitest\.|vite\.config|\.mocharc|karma\.conf|ava\.config|playwright\.config|cypress\.config)"
)
_TOKEN = re.compile(r"[\w@%+,./~-]+")
_SCRIPT = re.compile(
    r"\.(?:sh|bash|zsh|mk|ps1|bat|cmd|fish)$|(^|/)(?:scripts?|ci|\.ci|tools?|bin|hack|dev|build)/", re.IGNORECASE
)
_SUPPORT = re.compile(r"(^|/)(?:tests?|spec|specs|__tests__|__mocks__)/", re.IGNORECASE)
#: Modules that a runner imports, and that a file of the same name beside it would stand in for.
_IMPORTED = frozenset(sys.stdlib_module_names) | {
    "pytest",
    "_pytest",
    "pluggy",
    "nose",
    "nose2",
    "coverage",
    "tox",
    "nox",
    "hypothesis",
}

_PLAIN_VERSION = re.compile(r"[\w\s^~<>=*.,|&!+-]*")


def families_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the families of tools that some text (gate commands, scripts they run) calls; all where none is known."""
    listed = list(texts)
    found = {name for name, pattern in _FAMILIES.items() if any(map(pattern.search, listed))}
    return frozenset(found or _LOADED)


def loaded_by(path: str) -> str | None:
    """Return the family of tools that loads a file with this path by itself; None where none is known to."""
    folded = path.casefold()
    name = basename(folded)
    for family, globs in _LOADED.items():
        if any(fnmatchcase(name, glob) for glob in globs):
            return family
    if any(folded.startswith(f"{folder}/") or f"/{folder}/" in folded for folder in _FOLDERS):
        return "ci"
    if any(fnmatchcase(folded, glob) or fnmatchcase(folded, f"*/{glob}") for glob in _FILES):
        return "ci"
    if _SUPPORT.search(path) and name == "__init__.py":
        return "python"
    return None


def stands_in_for(path: str) -> str | None:
    """Return the module that a new Python file would stand in for when a runner imports it; None for others."""
    folded = path.casefold()
    if not folded.endswith((".py", ".so")):
        return None
    folder, name = dirname(folded), basename(folded).split(".")[0]
    if name in {"__init__", "__main__"}:
        folder, name = dirname(folder), basename(folder)
    top = folder in {"", "src", "lib"} or bool(_SUPPORT.search(f"{folder}/"))
    return name if top and name in _IMPORTED else None


def named_in(text: str, *, folder: str = "") -> Iterator[str]:
    """Return the paths that a command or a script may mean: its words, from the root and below each folder it names."""
    words = [word.split("=", 1)[-1] for word in _TOKEN.findall(text.replace("\\\n", " "))]
    paths = [word for word in words if word not in {".", "..", "/"} and not word.startswith("-")]
    places = {folder, "", *(path for path in _entered(text))}
    for path in dict.fromkeys(paths):
        for place in places:
            normal = normpath(f"{place}/{path}" if place else path)
            if not normal.startswith(("/", "..")):
                yield normal
    for module in _MODULE.findall(text):
        place = module.replace(".", "/")
        yield from (f"{place}.py", f"{place}/__main__.py")


def included_in(text: str) -> Iterator[str]:
    """Return what a makefile or a shell script reads as a part of itself."""
    for found in _INCLUDES.finditer(text):
        yield from (normpath(word) for word in _TOKEN.findall(found[1] or found[2]))


def plugins_in(text: str) -> Iterator[str]:
    """Return the files of the plugins that a configuration of pytest, or a `conftest.py`, loads by their modules' names."""
    listed = " ".join(found[1] for found in _PLUGINS.finditer(text))
    for module in re.findall(r"[A-Za-z_][\w.]*", listed):
        place = module.replace(".", "/")
        yield from (f"{place}.py", f"{place}/__init__.py")


def _entered(text: str) -> Iterator[str]:
    """Return the folders into which a command goes."""
    for found in re.finditer(
        r"(?:\bcd|-C|--prefix|--cwd|--dir|--directory|--manifest-path|--rootdir|-s)[ =]+([\w@%+,./-]+)", text
    ):
        yield normpath(found[1])


def is_script(path: str, mode: str) -> bool:
    """Return whether a file that another gate file names is a part of the checks, and not of what is checked."""
    return mode == "100755" or bool(_SCRIPT.search(path)) or bool(_SUPPORT.search(path))


def has_steps(path: str) -> bool:
    """Return whether a file lists commands, so that what it names is run as well."""
    return bool(_STEPS.search(path.casefold()))


def has_plugins(path: str) -> bool:
    """Return whether a file may name plugins of pytest."""
    return basename(path) in {"conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"}


def names_setup(path: str) -> bool:
    """Return whether a file is the configuration of a test runner that lists what it loads."""
    return bool(_SETUP.search(path.casefold()))


def resolve(path: str, link: Callable[[str], str | None]) -> Iterator[str]:
    """Return the paths that a path stands for: itself, and what the links in it lead to; `link` gives a link's target."""
    for _ in range(16):
        yield path
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            target = link("/".join(parts[:end]))
            if target is not None:
                path = normpath("/".join([*parts[: end - 1], target, *parts[end:]]))
                break
        else:
            return


def is_harmless(path: str, before: str | None, after: str | None) -> bool:
    """Return whether a change to a file that a runner loads cannot change what the runner does.

    Dependencies by version, a package's version and its description are such changes; scripts and a tool's settings are
    not. What cannot be read is not harmless.
    """
    name = basename(path.casefold())
    if before == after:
        return True
    match name:
        case "__init__.py":
            return not _code(before or "") and not _code(after or "")
        case "package.json" | "composer.json":
            return _parts(before, _json, _SAFE_JSON) == _parts(after, _json, _SAFE_JSON)
        case "pyproject.toml" | "cargo.toml":
            return _parts(before, _toml, _SAFE_TOML) == _parts(after, _toml, _SAFE_TOML)
        case "setup.cfg":
            return _parts(before, _ini, _SAFE_INI) == _parts(after, _ini, _SAFE_INI)
        case "gemfile":
            return all(map(_is_gem, set((after or "").splitlines()) - set((before or "").splitlines())))
        case _:
            return False


def _code(text: str) -> str:
    bare = re.sub(r'^\s*("""[^"\\]*"""|"[^"\\\n]*"|\'[^\'\\\n]*\')\s*$', "", text, count=1, flags=re.MULTILINE)
    return "".join(line for line in bare.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _is_gem(line: str) -> bool:
    return not line.strip() or bool(re.fullmatch(r"\s*gem ['\"][\w.-]+['\"](\s*,\s*['\"][\w\s.<>=~-]+['\"])*\s*", line))


#: Keys, folder by folder, that no runner acts on; `*` is any key. Their values count all the same where they are no
#: plain version, which a path or an address is.
_SAFE_JSON = (
    "version", "description", "keywords", "license", "author", "homepage", "funding", "engines.*", "dependencies.*",
    "devDependencies.*", "peerDependencies.*", "optionalDependencies.*", "require.*", "require-dev.*",
)  # fmt: skip
_SAFE_TOML = (
    "project.version", "project.description", "project.dependencies", "project.optional-dependencies.*",
    "project.requires-python", "project.classifiers", "project.keywords", "project.license", "project.authors",
    "project.readme", "dependency-groups.*", "tool.poetry.version", "tool.poetry.dependencies.*",
    "tool.poetry.group.*.dependencies.*", "package.version", "package.description", "package.license",
    "package.keywords", "dependencies.*", "dev-dependencies.*", "dependencies.*.version", "dependencies.*.features",
    "dev-dependencies.*.version", "dev-dependencies.*.features", "workspace.dependencies.*",
)  # fmt: skip
_SAFE_INI = (
    "metadata.version", "metadata.description", "metadata.author", "metadata.license", "options.install_requires",
    "options.python_requires", "options.extras_require.*",
)  # fmt: skip
_FREE = {
    "description",
    "keywords",
    "license",
    "author",
    "authors",
    "homepage",
    "funding",
    "readme",
    "classifiers",
    "features",
}


def _parts(text: str | None, read: Callable[[str], JSONValue], safe: Collection[str]) -> JSONValue:
    if text is None:
        return {}
    try:
        return _without(read(text), safe, ())
    except (ValueError, IniError, RecursionError):
        return ["unreadable", text]


def _without(value: JSONValue, safe: Collection[str], at: tuple[str, ...]) -> JSONValue:
    """Leave out what is harmless, and tables that have nothing else in them."""
    if not isinstance(value, dict):
        return value
    kept: dict[str, JSONValue] = {}
    for key, item in value.items():
        place = (*at, key)
        if _is_safe(place, item, safe):
            continue
        inner = _without(item, safe, place)
        if inner != {} or not isinstance(item, dict):
            kept[key] = inner
    return kept


def _is_safe(place: tuple[str, ...], value: JSONValue, safe: Collection[str]) -> bool:
    named = any(
        len(parts := one.split(".")) == len(place) and all(a in {b, "*"} for a, b in zip(parts, place, strict=True))
        for one in safe
    )
    if not named or (isinstance(value, dict) and place[-1] not in _FREE):
        return False
    return place[-1] in _FREE or all(_is_version(item) for item in (value if isinstance(value, list) else [value]))


def _is_version(value: JSONValue) -> bool:
    if not isinstance(value, str):
        return isinstance(value, int | float | bool)
    bare = re.sub(r"\[[\w,\s.-]*\]|;.*", "", value)  # extras, and markers of a requirement
    return all(bool(_PLAIN_VERSION.fullmatch(line)) for line in bare.splitlines())


def _json(text: str) -> JSONValue:
    value: JSONValue = json.loads(text)
    return value


def _toml(text: str) -> JSONValue:
    value: JSONValue = json.loads(json.dumps(tomllib.loads(text), default=str))
    return value


def _ini(text: str) -> JSONValue:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}
