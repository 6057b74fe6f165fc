"""What setting an environment up takes: steps in order, what they read, whom they ask, and what agents find set.

A plan is data. Every part names the file that asks for it, so that a user who wonders why something is installed finds
the line. Steps are shell scripts that run in a checkout of the base commit with the network of package registries;
agents later find their results, offline. The same steps serve every engine: a step that installs a toolchain looks for
it first and does nothing where it is there, and one for root says so (`needs_root`).
`setup_script` writes a plan as one script, for people who want to change it and keep it in their repository.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

#: Where an environment lies, in a set-up and in every sandbox alike: virtual environments and tools keep absolute paths.
HOME = "/opt/codexteam"
VENV = f"{HOME}/venv"
TOOLS = f"{HOME}/tools"
BIN = f"{HOME}/bin"
"""Programs that set-ups link or write; in front of PATH, in a set-up from its first step on."""
#: Where the checkout lies, in every sandbox.
WORKSPACE = "/work"
#: In the checkout, untracked: what later commands write too (a compiler's cache). `HOME` is read-only by then.
WRITTEN = f"{WORKSPACE}/.codexteam"
#: Written by set-ups alone, never shown to an agent: whoever can write a package cache reaches every later run.
CACHE = "/var/cache/codexteam"
#: The home folder of steps. Kept apart from `HOME`: what tools leave in it is not part of an environment.
SETUP_USER_HOME = "/tmp/codexteam-home"  # noqa: S108 - inside a sandbox


class Ecosystem(StrEnum):
    """A family of packages and the registry that they come from."""

    PYTHON = "python"
    NODE = "node"
    DENO = "deno"
    GO = "go"
    RUST = "rust"
    RUBY = "ruby"
    PHP = "php"
    JAVA = "java"
    DOTNET = "dotnet"
    ELIXIR = "elixir"
    PERL = "perl"
    NATIVE = "native"
    """CMake, make and what a distribution packages."""
    OTHER = "other"
    """A line of the user's, of a devcontainer or of CI, whatever it installs."""


class SourceKind(StrEnum):
    """Who asks, strongest first: of two that say different things the earlier one counts."""

    USER = "user"
    DEVCONTAINER = "devcontainer"
    COPILOT = "copilot-setup-steps"
    CI = "ci"
    MANIFESTS = "manifests"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Source:
    """One place that was looked at, and what became of it."""

    kind: SourceKind
    where: str
    """A file, and where in it: `.github/workflows/ci.yml job test`."""
    used: bool
    why: str = ""
    """One line: what was taken from it, or why nothing was."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A language's own tools that steps and tests need."""

    ecosystem: Ecosystem
    version: str
    """Major and minor, as far as they are asked for; empty: any."""
    source: str
    """The file that names the version; empty for the default."""
    programs: tuple[str, ...]
    """What has to be found once the set-up is done; one that is not there is a toolchain missing."""
    install: str = ""
    """What to do where it is missing and no step can install it: one line for the user."""


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One script of a set-up, in a process of its own."""

    command: str
    source: str
    """The file that asks for it, and where in it that is known."""
    ecosystem: Ecosystem
    folder: str = ""
    """Where it runs, relative to the repository's root."""
    reads: tuple[str, ...] = ()
    """Files whose content decides its result: a change of one of them makes another environment."""
    optional: bool = False
    """Its failure is reported and does not end the set-up."""
    shell: str = "bash -eo pipefail {0}"
    """How the script is run; `{0}` is the file it is written to. An argument list for exec has `{0}` alone."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for this step, over those of the plan."""
    needs_root: bool = False
    """Installs packages of the distribution: an engine without root leaves it out and reports `system_packages`."""
    group: str = ""
    """Steps in a row with the same group may run at the same time; each must succeed. Empty: alone."""


@dataclass(frozen=True, slots=True)
class TestCommand:
    """A command that may serve as a gate."""

    __test__ = False

    command: str
    source: str
    folder: str = ""
    """Where it runs, relative to the repository's root."""
    touched: bool = False
    """Whether tasks write in its folder: it is a gate beside the root's commands of the same language."""
    warm_up: bool = False
    """Whether it is run once at the end of a set-up, whatever comes of it: only then has its runner all it fetches."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that tests expect to reach."""

    name: str
    image: str
    source: str
    ports: tuple[tuple[int, int], ...] = ()
    """(where the tests reach it on loopback, where it listens)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    """Arguments instead of the image's own; empty: those."""
    health: str = ""
    """A command that succeeds inside it once it is ready; empty: its ports are waited for."""
    health_interval_seconds: float = 2.0
    health_retries: int = 60


@dataclass(frozen=True, slots=True)
class ServiceCommand:
    """A command that makes services ready for tests, such as one that creates the tables of a database.

    Every sandbox has services of its own, and they begin empty: it runs in each of them, in what is checked out there.
    """

    command: str
    source: str
    folder: str = ""
    """Where it runs, relative to the repository's root."""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one source says that a repository needs."""

    steps: tuple[SetupStep, ...] = ()
    toolchains: tuple[Toolchain, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for the set-up and for every command later."""
    setup_variables: Mapping[str, str] = field(default_factory=dict)
    """Set for the set-up alone."""
    offline_variables: Mapping[str, str] = field(default_factory=dict)
    """Set for commands where there is no network: package managers then fail at once instead of after minutes."""
    paths: tuple[str, ...] = ()
    """Folders to put in front of PATH, first one first."""
    test_commands: tuple[TestCommand, ...] = ()
    """Most specific first."""
    services: tuple[Service, ...] = ()
    service_commands: tuple[ServiceCommand, ...] = ()
    """In order, once the services are ready."""
    system_packages: tuple[str, ...] = ()
    """Packages of the distribution (Debian's names)."""
    hosts: tuple[str, ...] = ()
    """Registries that its steps ask, besides those of their ecosystems."""
    notices: tuple[str, ...] = ()
    """One line each, for the user; names in them are the repository's own."""

    def __add__(self, other: "Offer") -> "Offer":
        """Join two offers; where both set a variable, the second counts."""
        return Offer(
            _joined(self.steps, other.steps),
            _joined(self.toolchains, other.toolchains),
            {**self.variables, **other.variables},
            {**self.setup_variables, **other.setup_variables},
            {**self.offline_variables, **other.offline_variables},
            _joined(self.paths, other.paths),
            _joined(self.test_commands, other.test_commands),
            _joined(self.services, other.services),
            _joined(self.service_commands, other.service_commands),
            _joined(self.system_packages, other.system_packages),
            _joined(self.hosts, other.hosts),
            _joined(self.notices, other.notices),
        )


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """How the environment of one repository is made, and where every part of that comes from."""

    sources: tuple[Source, ...] = ()
    """What was looked at, strongest first."""
    needs: Offer = field(default_factory=Offer)
    user: str = ""
    """Who runs the steps inside a container (`remoteUser`); empty: the engine's choice."""
    secrets: bool = False
    """Whether a step is the user's own script, which alone sees `setup_secrets`."""
    image: str = ""
    """The image that the chosen CI job runs in; empty where it names none."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to set up."""
        return not self.needs.steps

    @property
    def reads(self) -> tuple[str, ...]:
        """The files of the repository whose contents decide the result, sorted."""
        return tuple(sorted({path for step in self.needs.steps for path in step.reads}))

    @property
    def ecosystems(self) -> tuple[Ecosystem, ...]:
        """The ecosystems of its steps and toolchains, in order of their appearance."""
        found = [step.ecosystem for step in self.needs.steps] + [each.ecosystem for each in self.needs.toolchains]
        return tuple(dict.fromkeys(found))


_T = TypeVar("_T")


def _joined(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return (*first, *(each for each in second if each not in first))


#: Where it goes, relative to the repository's root.
SCRIPT_PATH = ".codex/setup-environment.sh"
_END = "END_OF_STEP"
_HEAD = f"""\
#!/bin/sh
# What the environment of this repository's tests is made of, as its files ask for it. To use this script in its place,
# commit it and say so in .codex/codexteam.config.toml:
#
#     [codexteam.sandbox]
#     setup = "{SCRIPT_PATH}"
set -e

script=$(mktemp)
step() {{
  echo "== $1"
  cat > "$script"
  (cd "$2" && bash -eo pipefail "$script" < /dev/null)
}}
"""


def setup_script(plan: SetupPlan) -> str:
    """Return a script that does what a plan's steps do, in order; empty where there is nothing to set up."""
    return "\n".join(_parts(plan)) + "\n" if plan.needs.steps else ""


def _parts(plan: SetupPlan) -> Iterator[str]:
    yield _HEAD
    for name, value in sorted({**plan.needs.setup_variables, **plan.needs.variables}.items()):
        yield f"export {name}={shlex.quote(value)}"
    yield f'export PATH="{":".join(dict.fromkeys((*plan.needs.paths, BIN)))}:$PATH"'
    for step in plan.needs.steps:
        yield ""
        yield from _step(step)


def _step(step: SetupStep) -> Iterator[str]:
    only = '[ "$(id -u)" -ne 0 ] || ' if step.needs_root else ""
    beside = " || echo 'it failed; the rest continues'" if step.optional else ""
    yield f"{only}step {shlex.quote(step.source)} {shlex.quote(step.folder or '.')} <<'{_END}'{beside}"
    for name, value in sorted(step.variables.items()):
        yield f"export {name}={shlex.quote(value)}"
    yield step.command
    yield _END
