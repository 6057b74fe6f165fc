"""What single lines of a CI script do: run tests, install what manifests name, install packages, or something else.

Manifests say better how to install a project's packages, for places of ours; a line that only does that is left to
them. What a line adds beside (`pip install that-too`, `npm run build`) is kept.
"""

import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum


class CommandKind(StrEnum):
    """What a line does."""

    TEST = "test"
    """Runs tests."""
    MANIFEST = "manifest"
    """Installs what a manifest or lock file names, or the tool for it."""
    PACKAGES = "packages"
    """Installs packages of the distribution."""
    PIP = "pip"
    """Installs Python packages that it names."""
    ASIDE = "aside"
    """Prints, reports, checks style, publishes: nothing that tests need."""
    SERVICE = "service"
    """Creates or fills a database, or waits for a server."""
    BACKGROUND = "background"
    """Starts a program that is meant to keep running."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line of a script."""

    text: str
    kind: CommandKind
    packages: tuple[str, ...] = ()
    """Packages of the distribution, or arguments for an installer of Python packages."""
    indirect: bool = False
    """Whether it runs tests only through another script, which may need more than they do."""


def _any_of(before: str, *patterns: str) -> re.Pattern[str]:
    """Return a pattern for a command that starts in one of several ways."""
    return re.compile(f"^{before}(?:{'|'.join(patterns)})")


_BEFORE = r"(?:sudo\s+)?(?:\w+=\S*\s+)*"
_BEFORE_TESTS = r"(?:env\s+)?(?:\w+=\S*\s+)*(?:sudo\s+(?:-\w+\s+)*)?"
_PYTHON_RUN = r"(?:uv run|poetry run|pdm run|pipenv run|hatch run|rye run|xvfb-run|dbus-run-session|time|coverage run)"
#: Run tests.
_TESTS = _any_of(
    _BEFORE_TESTS,
    rf"(?:{_PYTHON_RUN}\s+(?:-\S+(?:[= ]\S+)?\s+)*)?(?:pytest|py\.test|nose2|trial|stestr)\b",
    rf"(?:{_PYTHON_RUN}\s+(?:-\S+\s+)*)?python[\d.]*\s+(?:-[^m]\S*\s+)*-m\s+(?:pytest|unittest|tox|nox)",
    rf"(?:{_PYTHON_RUN}\s+(?:-\S+\s+)*)?python[\d.]*\s+(?:-[^m]\S*\s+)*-m\s+(?:coverage run|nose2)",
    rf"(?:{_PYTHON_RUN}\s+(?:-\S+\s+)*)?python[\d.]*\s+(?:-[^m]\S*\s+)*-m\s+(?:twisted\.trial)",
    r"(?:coverage|python -m coverage) run\b",
    r"(?:(?:uvx|uv tool run|pipx run|uv run)\s+(?:--\S+(?:[= ]\S+)?\s+)*)?(?:tox|nox)\b"
    r"(?!.*(?:lint|docs|type|mypy|--notest|--install-only))",
    r"hatch (?:test|run (?:\S+:)?(?:test[\w-]*|cov)(?!\S))",
    r"pdm (?:run )?test",
    r"poe test",
    r"rye test",
    r"just test",
    r"task test",
    r"invoke test",
    r"inv test",
    r"python[\d.]* (?:\S*/)?(?:manage\.py test|setup\.py test|run_?tests?\.py)",
    r"(?:npm|pnpm|yarn|bun)(?: -[\w-]+(?:[= ]\S+)?)*(?: workspaces? \S+)? (?:t|tst|test)(?!\S)",
    r"(?:npm|pnpm|yarn|bun)(?: -[\w-]+(?:[= ]\S+)?)*(?: workspaces? \S+)? (?:run )?(?:tests?|unit|coverage)[:\w-]*(?!\S)",
    r"(?:npx|pnpm exec|pnpm|yarn|bunx|bun) (?:--\S+ )*(?:vitest|jest|mocha|ava|tap|c8|nyc|karma)\b",
    r"(?:npx|pnpm exec|pnpm|yarn|bunx|bun) (?:--\S+ )*(?:turbo run test|nx [^ ]*test)\b",
    r"(?:npx |yarn |pnpm )?(?:lerna|turbo|nx) run(?:-many)? .*\btest",
    r"node (?:\S+ )*--test\b",
    r"deno test",
    r"borp",
    r"wireit test",
    r"go test\b",
    r"gotestsum\b",
    r"ginkgo\b",
    r"(?:go run )?\S*gotestsum",
    r"cargo (?:\+\S+ )?(?:test|nextest run|hack test|llvm-cov)\b",
    r"cross test",
    r"wasm-pack test",
    r"(?:bundle exec |bin/)?(?:rspec|rake(?:\s|$)|rails test|minitest|cucumber)",
    r"ruby -I",
    r"(?:\./)?(?:mvnw?|mvn)\b.*\b(?:test|verify|install)\b(?!.*-D(?:skipTests|maven\.test\.skip))",
    r"(?:\./)?(?:gradlew|gradle)\b.*\b(?:test|check|build|\w*[tT]est)\b",
    r"dotnet (?:test|run --project \S*[Tt]est)",
    r"mix (?:test|coveralls)",
    r"(?:carton exec )?(?:prove|yath)\b",
    r"(?:\./Build|dzil) test\b",
    r"ctest\b",
    r"(?:php (?:-\S+ )*)?(?:\./)?(?:vendor/bin/)?(?:phpunit|pest|simple-phpunit|codecept run|phpspec)\b",
    r"composer exec (?:-\S+ )*(?:phpunit|pest)\b",
    r"composer (?:run(?:-script)? )?(?:--\S+ )*(?:tests?|phpunit|unit|ci)\b",
    r"make (?:-\S+ )*(?:\w+=\S+ )*(?:test|check|tests|unit|coverage|cov)[\w.:-]*(?!\S)",
    r"(?:cmake --build \S+ .*--target \S*(?:test|check))",
    r"meson test",
    r"ninja (?:-C \S+ )?test",
    r"bazel test",
    r"swift test",
    r"zig build test",
    r"(?:uv run |poetry run )?(?:(?:ba|z)?sh )?\S*/[\w-]*tests?[\w-]*\.sh(?:\s|$)",
    r"(?:ba|z|)?(?:sh )?(?:\./)?(?:\S*/)?(?:run[-_]?)?(?:unit[-_]?)?tests?(?:\.sh)?(?:\s|$)",
)
#: Install what a manifest or lock file names, or a tool for that.
_MANIFEST = _any_of(
    _BEFORE,
    r"uv (?:sync|venv|lock|python|pip (?:sync|install (?:--system |-U |--upgrade )*(?:uv|pip|tox|nox)\b))",
    r"poetry (?:install|sync|config|lock|self|env|check)",
    r"pdm (?:install|sync|use|config|lock)",
    r"pipenv (?:install|sync)",
    r"hatch (?:env|config|-v env)",
    r"(?:(?:uvx|uv tool run|pipx run|uv run|python -m)\s+(?:-\S+\s+)*)?(?:tox|nox)\b.*(?:--notest|--install-only)",
    r"rye sync",
    r"pipx install",
    r"uv tool install",
    r"(?:npm|pnpm) (?:-\S+ )*(?:ci|i|install|install-ci-test)(?: -\S+)*$",
    r"(?:yarn|bun)(?: install)?(?: -\S+)*$",
    r"yarn set",
    r"corepack ",
    r"npm (?:i|install) (?:-g|--global)",
    r"npm config",
    r"pnpm config",
    r"yarn config",
    r"npm (?:i|install) (?:\S+ )*-\w*g",
    r"pnpm (?:add|i|install) -g",
    r"go (?:mod (?:download|tidy|verify|vendor)|get|install|build|vet|env|version|generate)",
    r"cargo (?:\+\S+ )?(?:fetch|build|check|install|generate-lockfile|update|binstall)",
    r"rustup ",
    r"bundle (?:install|config|update|lock)",
    r"gem (?:install|update)",
    r"composer (?:install|update|require|config|self-update|validate|global)",
    r"(?:\./)?(?:mvnw?|mvn)\b",
    r"(?:\./)?gradlew?\b",
    r"dotnet (?:restore|build|tool|workload)",
    r"mix (?:deps|local|compile|hex)",
    r"(?:cpanm|cpan|cpm|carton)\b",
    r"perl (?:Makefile|Build)\.PL",
    r"dzil (?:authordeps|listdeps|build|install)",
    r"cmake ",
    r"meson (?:setup|compile)",
    r"ninja\b",
    r"python[\d.]* -m (?:venv|ensurepip)",
    r"virtualenv ",
    r"source \S*activate",
    r"\. \S*activate",
    r"conda ",
    r"mamba ",
    r"micromamba ",
)
#: Print, report, check style, publish.
_ASIDE = _any_of(
    _BEFORE,
    r"(?:echo|printf|cat|ls|pwd|env|printenv|date|whoami|uname|df|free|tree|head|tail|set|true|exit|sleep)\b",
    r"(?:which|type|ulimit|locale|id)\b",
    r"(?:\S+ )?(?:-V|--version|-v|version|--help)$",
    r"\S+ (?:--version|-V)$",
    r"(?:pip|uv pip|python -m pip|npm) (?:list|freeze|check|ls|cache|show|config)\b",
    r"git ",
    r"gh ",
    r"codecov",
    r"coveralls",
    r"bash <\(curl",
    r"curl ",
    r"wget ",
    r"docker",
    r"docker-compose",
    r"kubectl",
    r"helm",
    r"aws ",
    r"gcloud ",
    r"az ",
    r"ssh",
    r"scp",
    r"rsync ",
    r"(?:npm|pnpm|yarn|bun)(?: run)? (?:lint|format|prettier|typecheck|type-check|types|check|audit|publish)\b",
    r"(?:npm|pnpm|yarn|bun)(?: run)? (?:release|docs|version|size|knip|tsc)\b",
    r"(?:npx|pnpm exec|pnpm dlx|bunx|yarn)(?: --\S+)* (?:eslint|prettier|tsc|attw|publint)\b",
    r"(?:npx|pnpm exec|pnpm dlx|bunx|yarn)(?: --\S+)* (?:playwright install|changeset|semantic-release)\b",
    r"(?:npx|pnpm exec|pnpm dlx|bunx|yarn)(?: --\S+)* (?:codecov|lockfile-lint|biome|oxlint)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:ruff|black|flake8|isort|mypy|pyright)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:pylint|pre-commit|bandit|twine|build)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:check-manifest|sphinx|mkdocs|coverage)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:codespell|pyroma|validate-pyproject|ty)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:basedpyright|slotscheck|interrogate)\b",
    r"(?:uv run |poetry run |pdm run |python -m |uvx |pipx run )?(?:vulture)\b",
    r"cargo (?:fmt|clippy|doc|audit|deny|publish|package|semver|miri|bench|tarpaulin)",
    r"go (?:fmt|tool)",
    r"gofmt",
    r"golangci-lint",
    r"staticcheck",
    r"mix (?:format|credo|dialyzer|docs)",
    r"bundle exec (?:rubocop|standardrb|steep|yard)",
    r"(?:vendor/bin/)?(?:phpstan|psalm|php-cs-fixer|phpcs|rector|pint)",
    r"composer (?:phpstan|cs|stan|lint|audit|normalize|show)",
    r"dotnet (?:format|pack|nuget|publish|--info|--list)",
    r"make (?:lint|docs|format|fmt|doc|typecheck|mypy|clean)\b",
    r"(?:\S*/)?(?:lint|check|format|fmt|typecheck|docs|build-docs)(?:\.sh)?$",
    r"\S* ?run editorconfig-checker",
    r".*\bdocker\b",
    r"timeout \S+ ",
    r"lscpu",
    r"(?:swapoff|modprobe|apparmor\w*|epmd) ",
    r"hatch (?:fmt|check|build|publish|version|run (?:\S+:)?(?:lint|types|docs|format|check)\S*)",
    r"(?:npm|pnpm|yarn|bun)(?: run)? clean\b",
    r"python[\d.]* (?:-VV|-m (?:site|sysconfig|platform))",
    r"(?:pdm|poetry|pipenv|hatch) (?:info|show|about|graph|--\w+)",
    r"systemctl ",
    r"service ",
    r"ufw ",
    r"sysctl ",
    r"swapon",
    r"fallocate",
    r"mkswap",
    r"chown",
    r"setfacl",
    r"sed -i .*(?:/etc|sources)",
    r"locale-gen",
    r"update-alternatives",
    r"ldconfig",
    r"dpkg",
    r"snap ",
    r"(?:python[\d.]*|node|php|ruby|java|go|perl|rustc|cargo|bun)\s+(?:-v|-V|--version|-version|version|env)$",
    r"(?:deno|gcc|clang|cmake)\s+(?:-v|-V|--version|-version|version|env)$",
    r"cd\s*$",
    r"rm ",
    r":$",
    r"tar ",
    r"zip ",
    r"unzip ",
    r"tox .*(?:lint|docs|type|mypy)",
    r"nox .*(?:lint|docs|type|mypy)",
)
_INSIDE_PROJECT = r"(?:(?:uv|poetry|pdm|pipenv|rye) run(?: (?:-\w|--[\w-]+)(?:=\S+)?)* )?"
#: Talk to a server, and nothing else.
_CLIENTS = _any_of(
    _BEFORE,
    r"(?:psql|createdb|createuser|dropdb|pg_isready|mysql|mysqladmin|mariadb|mongosh?|redis-cli|rabbitmqctl)\b",
    r"(?:\S*/)?(?:wait-for-it|wait-for)(?:\.sh)? ",
    r"(?:dockerize|npx wait-on|wait-on) ",
)
#: Create or fill a database.
_DATABASES = _any_of(
    _BEFORE + _INSIDE_PROJECT,
    r"(?:python[\d.]* )?(?:\S*/)?manage\.py (?:migrate|createcachetable|loaddata)\b",
    r"(?:python[\d.]* -m )?(?:alembic(?: \S+)* upgrade|flask db upgrade|aerich upgrade|yoyo apply)\b",
    r"(?:bundle exec |bin/)?(?:rails|rake) (?:\w+=\S+ )*db:\S+",
    r"(?:npx |pnpm exec |pnpm |yarn |bunx )?(?:prisma (?:migrate|db)|knex migrate|sequelize(?:-cli)? db:)",
    r"(?:npx |pnpm exec |pnpm |yarn |bunx )?(?:typeorm \S*migration:run|mikro-orm \S*migration:up)",
    r"(?:npx |pnpm exec |pnpm |yarn |bunx )?(?:drizzle-kit (?:push|migrate)|node-pg-migrate|db-migrate up)",
    r"(?:npm|pnpm|yarn|bun)(?: run)? (?:db:\S+|\w*migrat\w*[\w:-]*|prisma:\S+)(?!\S)",
    r"mix ecto\.(?:create|migrate|setup|reset|load)",
    r"php (?:artisan migrate|bin/console doctrine:\S+)",
    r"(?:sqlx (?:database|db|migrate)|diesel (?:setup|database|migration)|goose|flyway|dbmate|tern|migrate -path) ",
)
_PIP = re.compile(rf"^{_BEFORE}(?:(?:python[\d.]*\s+-m\s+|uv\s+)?pip[\d.]*\s+install|uv\s+add)\s+(?P<rest>.+)$")
_MANAGED_PIP = re.compile(r"^(?:pdm|poetry|pipenv|hatch|uv) run\s+(?=(?:python[\d.]*\s+-m\s+)?pip\b)")
_APT = re.compile(
    rf"^{_BEFORE}(?:sudo\s+)?(?:apt-get|apt|aptitude)\s+(?:-\S+(?:=\S+)?\s+)*(?P<verb>\w+)\s*(?P<rest>.*)$"
)
#: What installs, builds and reports, and is not imported by tests.
_PYTHON_TOOLS = frozenset(
    (
        *("pip", "setuptools", "wheel", "build", "virtualenv", "pipx", "uv", "poetry", "poetry-core", "pdm", "pipenv"),
        *("tox", "tox-gh", "tox-gh-actions", "tox-gh-matrix", "tox-uv", "nox", "hatch", "hatchling", "flit"),
        *("setuptools-scm", "codecov", "coveralls", "python-coveralls", "twine", "pre-commit"),
    )
)
#: Counts for all that follows in a script: another folder, a variable.
_FOR_THE_REST = re.compile(r"^(?:cd \S+$|export \w+=|\w+=\S*$|source |\. |umask )")
_FLOW = re.compile(
    r"^\s*(?:if|for|while|until|case|function|select)\b|<<-?\s*['\"]?\w+|^\s*\w+\s*\(\)\s*\{", re.MULTILINE
)


def read_script(script: str) -> list[Line] | None:
    """Return the logical lines of a script; None where it branches or loops: it is one whole then."""
    joined = re.sub(r"\\\r?\n\s*", " ", script)
    if _FLOW.search(joined):
        return None
    found: list[Line] = []
    before: list[str] = []
    for raw in joined.splitlines():
        text = re.sub(r"(?:^|\s)#.*$", "", raw).strip()
        for part in _parts(text):
            if _FOR_THE_REST.match(part):
                before.append(part)
                continue
            line = read_line(part)
            found.append(replace(line, text=" && ".join([*before, line.text])) if before else line)
    return found


def _parts(text: str) -> list[str]:
    """Return the commands of a line that are joined by `&&` or `;`; one where a quote spans them."""
    if not text:
        return []
    parts = [part.strip() for part in re.split(r"\s*&&\s*|\s*;\s+|;$", text) if part.strip()]
    # a folder that is changed into counts for what follows it
    if any(part.count("'") % 2 or part.count('"') % 2 for part in parts) or parts[0].startswith(
        ("cd ", "export ", "(")
    ):
        return [text]
    return parts


def read_line(text: str) -> Line:
    """Return what one command does."""
    plain = re.sub(r"\s+", " ", text.strip())
    if plain.endswith("&"):
        return Line(text, CommandKind.BACKGROUND)
    inside = _MANAGED_PIP.sub("", plain)
    if (apt := _APT.match(plain)) is not None:
        return _apt(text, apt)
    if (pip := _PIP.match(inside)) is not None:
        return _pip(text, pip["rest"])
    if _CLIENTS.match(plain) or _DATABASES.match(plain):
        return Line(text, CommandKind.SERVICE)
    if is_test(plain):
        return Line(text, CommandKind.TEST)
    for kind, pattern in ((CommandKind.MANIFEST, _MANIFEST), (CommandKind.ASIDE, _ASIDE)):
        if pattern.match(plain):
            return Line(text, kind)
    return Line(text, CommandKind.OTHER)


def is_test(text: str) -> bool:
    """Return whether a command runs tests, by its words."""
    plain = re.sub(r"^(?:cd \S+ && )", "", text.strip())
    return _TESTS.match(plain) is not None and not re.match(
        r"^(?:npm|pnpm|yarn|bun)\S* .*:(?:lint|types?|format|watch|e2e)\b", plain
    )


def _apt(text: str, found: re.Match[str]) -> Line:
    if found["verb"] not in {"install", "build-dep"}:
        return Line(text, CommandKind.ASIDE)
    words = [word for word in _words(re.split(r"[|;&>]", found["rest"])[0]) if not word.startswith("-")]
    named = tuple(word.partition("=")[0] for word in words if re.fullmatch(r"[a-z0-9][a-z0-9.+:-]+(?:=\S+)?", word))
    return Line(text, CommandKind.PACKAGES, named)


def _pip(text: str, rest: str) -> Line:
    if re.search(r"[|;&<>`$]", re.sub(r"'[^']*'|\"[^\"]*\"", "", rest)):
        return Line(text, CommandKind.OTHER)
    words = _words(rest)
    kept: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word in {"-r", "-c", "--requirement", "--constraint", "--group", "--extra-index-url", "--find-links", "-f"}:
            kept += [word, words[index]] if index < len(words) else []
            index += 1
        elif word in {"-e", "--editable"} and index < len(words):
            kept += ["-e", words[index]]
            index += 1
        elif word.startswith("-"):
            kept += [word] if word == "--pre" or re.match(r"--(?:no-binary|only-binary|extra-index-url)=", word) else []
        elif re.match(r"^\.(?:/\S*)?(?:\[|$)", word):
            # in the tree: what agents change has to count, and without extras the manifest has it
            kept += ["-e", word] if "[" in word or word not in {".", "./"} else []
        elif re.split(r"[<>=!~\[ ;]", word)[0].lower() not in _PYTHON_TOOLS:
            kept.append(word)
    if not [word for word in kept if not word.startswith("--pre")]:
        return Line(text, CommandKind.MANIFEST)
    return Line(text, CommandKind.PIP, tuple(kept))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def needs_a_server(text: str) -> bool:
    """Return whether a command does nothing but talk to a server: without one it is of no use."""
    return _CLIENTS.match(re.sub(r"\s+", " ", text.strip())) is not None


def database_lines(script: str) -> list[str]:
    """Return the lines of a script that create or fill a database, or wait for a server; none of one that branches."""
    return [in_ready_environment(line.text) for line in read_script(script) or [] if line.kind is CommandKind.SERVICE]


def in_ready_environment(text: str) -> str:
    """Return a command as it runs where its packages are installed: without the manager that would see to them."""
    return re.sub(rf"^{_INSIDE_PROJECT}", "", re.sub(r"\s+", " ", text.strip())) if "\n" not in text.strip() else text


_INSIDE = re.compile(
    r"^(?:(?:uv|poetry|pdm|pipenv|rye) run(?: (?:-\w|--[\w-]+)(?:=\S+)?)*|hatch run)\s+(?:\S+\s+)*?"
    r"(?=(?:python[\d.]*|pytest|py\.test|coverage)(?:\s|$))"
)
_OWN = re.compile(
    r"^(?:\w+=\S*\s+)*(?:(?:uvx|uv tool run|pipx run|uv run|python[\d.]* -m)\s+(?:-\S+(?: \S+)?\s+)*)?(?:tox|nox|hatch)\b"
)


def as_gate(text: str) -> str:
    """Return a test command of CI as it runs in an environment that is ready: without what would make another one."""
    if "\n" in text.strip():
        return text.strip()
    plain = re.sub(r"\s+", " ", text.strip())
    plain = re.sub(r"^(?:sudo(?: -\w+)* )", "", plain)
    plain = _INSIDE.sub("", plain)
    return re.sub(r"\s+--cov-fail-under[= ]\S+", "", plain)


def makes_its_own_environment(text: str) -> bool:
    """Return whether a test command installs what it needs by itself (tox, nox, hatch): it does not work offline."""
    return _OWN.match(text) is not None


_FETCHES = re.compile(
    r"\b(?:mvnw?|gradlew?|simple-phpunit|tox|nox|hatch|uvx|bunx)(?=\s|$)|\b(?:pnpm|yarn) dlx\b|\bnpx (?:-y|--yes)\b"
    r"|\b(?:pipx run|uv tool run|deno (?:test|task|run))\b"
)


def fetches_when_first_run(text: str) -> bool:
    """Return whether a test command's runner fetches something when it first runs: only after that it works offline."""
    return _FETCHES.search(text) is not None
