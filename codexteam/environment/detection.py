"""From a repository's files to the set-ups that may make its tests run, the best one first.

Strongest first: the user's word; a devcontainer of a trusted project; `copilot-setup-steps.yml`; the CI job that runs
the tests, together with manifests and lock files. A plan that fails falls through to the next one, but for the user's.
"""

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from codexteam.core.command_ending import cannot_fail
from codexteam.core.text import clean_line
from codexteam.environment import toolchains
from codexteam.environment.devcontainer_steps import devcontainer_path, read_devcontainer_steps
from codexteam.environment.documents import Documents
from codexteam.environment.ecosystems import deno, dotnet, elixir, go, java, native, node, perl, php, python, ruby, rust
from codexteam.environment.ecosystems.system_packages import packages_step
from codexteam.environment.folders import lies_in, project_folders
from codexteam.environment.plan import (
    WORKSPACE,
    Ecosystem,
    Offer,
    ServiceCommand,
    SetupPlan,
    SetupStep,
    Source,
    SourceKind,
    TestCommand,
)
from codexteam.environment.registries import project_hosts, split_hosts
from codexteam.environment.repository_view import RepositoryView
from codexteam.environment.workflows.choosing import ChosenJob, chosen_job, copilot_steps
from codexteam.environment.workflows.command_lines import (
    CommandKind,
    as_gate,
    database_lines,
    fetches_when_first_run,
    in_ready_environment,
    makes_its_own_environment,
    needs_a_server,
)
from codexteam.environment.workflows.other_ci import CIRCLE, GITLAB, TRAVIS, job_elsewhere, unread_files
from codexteam.environment.workflows.reading import JobLine, JobReading

_OFFERS: Mapping[Ecosystem, Callable[[Documents, str], Offer]] = {
    Ecosystem.PYTHON: python.offer,
    Ecosystem.NODE: node.offer,
    Ecosystem.DENO: deno.offer,
    Ecosystem.GO: go.offer,
    Ecosystem.RUST: rust.offer,
    Ecosystem.RUBY: ruby.offer,
    Ecosystem.PHP: php.offer,
    Ecosystem.JAVA: java.offer,
    Ecosystem.DOTNET: dotnet.offer,
    Ecosystem.ELIXIR: elixir.offer,
    Ecosystem.PERL: perl.offer,
    Ecosystem.NATIVE: native.offer,
}
#: CI's own variables, and those that would change how tests behave for a person.
_CI_VARIABLES = re.compile(
    r"^(?:GITHUB_|RUNNER_|CI$|ACTIONS_|CODECOV_|COVERALLS_|FORCE_COLOR$|PY_COLORS$|CLICOLOR|TOXENV$|TOX_|NOX"
    r"|UV_|PIP_|POETRY_|PDM_|PIPENV_|MAVEN_|MVN|GRADLE_|JAVA_HOME|NPM_|npm_|YARN_|PNPM_|BUN_|NODE_AUTH|COMPOSER_|NUGET_"
    r"|DOTNET_|MIX_HOME|HEX_|CARGO$|CARGO_(?:HOME|TARGET_DIR|TERM\w*|INCREMENTAL|NET\w*)$|CROSS_|RUSTUP_|BUNDLE_(?!GEMFILE)"
    r"|GO(?:PROXY|FLAGS|CACHE|MODCACHE|TOOLCHAIN|SUMDB|BIN|PATH)$|HOME$|PATH$|SHELL$|TERM$|USER$|VIRTUAL_ENV|OS$|PYTHON$)"
)
#: Their own command comes before CI's: what it fetches offline is known, and CI's often needs a folder or more tools.
_MANIFESTS_FIRST = frozenset(
    {Ecosystem.JAVA, Ecosystem.NATIVE, Ecosystem.DOTNET, Ecosystem.GO, Ecosystem.RUST, Ecosystem.ELIXIR}
)


@dataclass(frozen=True, slots=True)
class DetectionInput:
    """What counts besides the repository's files."""

    setup: str | None = None
    """`[codexteam.sandbox] setup`: the user's script, relative to the root."""
    service_commands: tuple[str, ...] = ()
    """`[codexteam.sandbox] service_commands`."""
    image: str | None = None
    dockerfile: str | None = None
    has_images: bool = True
    """Whether sandboxes are made from images; elsewhere `image` and `dockerfile` count for nothing."""
    trusted: bool = False
    """Whether the project's own devcontainer may be used."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The user's variables that a devcontainer may see."""
    touched: Collection[str] = ()
    """Folders or files that tasks write: projects there are set up too, where no script or container of the repository's
    own sets all of it up."""
    workspace: str = WORKSPACE
    """Where the checkout lies in a sandbox."""

    @property
    def base(self) -> str:
        """The user's word on the image, in words; empty where there is none."""
        if self.image is not None:
            return f"image {self.image}"
        return f"dockerfile {self.dockerfile}" if self.dockerfile is not None else ""


def detect(view: RepositoryView, given: DetectionInput | None = None) -> tuple[SetupPlan, ...]:
    """Return the plans that may make a repository's tests run, the best one first; there is always one.

    Args:
        view: the repository at its base commit, with all its paths.
        given: what counts besides.
    """
    given = given or DetectionInput()
    documents = Documents(view)
    manifests = _of_manifests(documents)
    wanted = _wanted(view)
    job = chosen_job(documents, wanted) or job_elsewhere(documents)
    tests = _warmed_up(documents, _test_commands(manifests, job))
    services = tuple(job.reading.services) if job else ()
    service_commands = _service_commands(job.reading) if job else ()
    if given.setup is not None:
        return (_of_user(given, documents, tests, services, manifests, job),)
    plans: list[SetupPlan] = []
    sources: list[Source] = []
    sources += _of_base(given)
    container = _of_devcontainer(documents, given, sources, manifests)
    if container is not None:
        needs = replace(
            container.needs,
            test_commands=tests,
            services=(*container.needs.services, *services),
            service_commands=container.needs.service_commands or service_commands,
        )
        plans.append(replace(container, needs=needs))
    copilot = _of_copilot(documents, wanted, sources, manifests)
    if copilot is not None:
        needs = replace(copilot.needs, test_commands=tests)
        if not needs.services:
            needs = replace(needs, services=services, service_commands=service_commands)
        plans.append(replace(copilot, needs=needs))
    if given.touched:
        manifests = _of_manifests(documents, given.touched)
        tests = _warmed_up(documents, _test_commands(manifests, job))
    plans.append(_of_manifests_and_ci(documents, manifests, job, tests, sources))
    hosts, refused = split_hosts(
        project_hosts(documents, [folder for _, folder in manifests.found]), trusted=given.trusted
    )
    beside = Offer(hosts=tuple(hosts), notices=(*refused, *_not_followed(documents)))
    image = job.reading.container if job else ""
    if job is not None and image and not given.base:
        said = f"{job.reading.source} runs in the image {clean_line(image)[:80]}, which is not chosen by itself"
        beside += Offer(notices=(f"{said}: [codexteam.sandbox] image names it, where tests need what it has",))
    plans = [replace(_finished(plan, beside, documents), image=image) for plan in plans]
    return tuple(replace(plan, needs=_with_services_ready(plan.needs, given)) for plan in plans)


def _with_services_ready(needs: Offer, given: DetectionInput) -> Offer:
    """Take the user's word on what makes services ready, and say so where a script's work on them is lost."""
    if not needs.services:
        return needs
    if given.service_commands:
        where = "[codexteam.sandbox] service_commands"
        return replace(needs, service_commands=tuple(ServiceCommand(line, where) for line in given.service_commands))
    if needs.service_commands:
        return needs
    names = ", ".join(service.name for service in needs.services)
    line = (
        f"services begin empty in every sandbox ({clean_line(names)}), and what a set-up writes to them is not kept: "
        "[codexteam.sandbox] service_commands names what makes them ready, where tests need that"
    )
    return replace(needs, notices=(*needs.notices, line))


def _of_base(given: DetectionInput) -> list[Source]:
    if not given.base:
        return []
    unused = 'sandboxes are made from this host\'s own programs here; with kind = "docker" it is the base'
    why = f"{given.base} is the base" if given.has_images else f"{given.base} is not used: {unused}"
    return [Source(SourceKind.USER, "[codexteam.sandbox]", used=given.has_images, why=why)]


def _finished(plan: SetupPlan, beside: Offer, documents: Documents) -> SetupPlan:
    needs = plan.needs + beside
    if needs.system_packages:
        source = next((each.where for each in plan.sources if each.used and each.kind is not SourceKind.USER), "CI")
        needs = replace(needs, steps=(packages_step(needs.system_packages, source), *needs.steps))
    notices = tuple(dict.fromkeys((*needs.notices, *documents.problems)))
    return replace(plan, needs=replace(needs, notices=notices))


def _warmed_up(documents: Documents, tests: tuple[TestCommand, ...]) -> tuple[TestCommand, ...]:
    """Return test commands, the first one to be run in the set-up where it fetches something when it first runs."""
    if not tests:
        return ()
    first = tests[0]
    script = node.script_of(documents, first.folder, first.command)
    fetches = any(map(fetches_when_first_run, (first.command, script)))
    return (replace(first, warm_up=first.warm_up or fetches), *tests[1:])


def _not_followed(documents: Documents) -> Iterator[str]:
    """Return a line for each file that says how to set up and is not followed."""
    for path in ("environment.yml", "environment.yaml", "conda-lock.yml"):
        if documents.has(path):
            yield (
                f"{path} is for conda, whose packages set-ups do not install: [codexteam.sandbox] setup and image name "
                "a script and an image that do"
            )


def _wanted(view: RepositoryView) -> dict[str, str]:
    return {
        "python": toolchains.python(view).version,
        "node": toolchains.node(view).version,
        "go": toolchains.go(view).version,
        "ruby": toolchains.ruby(view).version,
        "java": toolchains.java(view).version,
        "rust": "stable",
    }


@dataclass(frozen=True, slots=True)
class _Manifests:
    needs: Offer
    found: tuple[tuple[Ecosystem, str], ...]


def _of_manifests(documents: Documents, touched: Collection[str] = ()) -> _Manifests:
    needs = Offer()
    found: list[tuple[Ecosystem, str]] = []
    for ecosystem, folder in project_folders(documents, touched):
        if ecosystem is Ecosystem.NATIVE and found and not folder:
            # a makefile beside other manifests mostly calls their tools: its targets are offered, it builds nothing
            needs += Offer(test_commands=native.make_tests(documents, folder))
            continue
        offer = _OFFERS[ecosystem](documents, folder)
        if offer.steps or offer.test_commands:
            beside = bool(folder) and any(not other for _, other in found)
            found.append((ecosystem, folder))
            # what lies beside the project itself is not worth an environment that is not made
            steps = tuple(replace(step, optional=True) for step in offer.steps) if beside else offer.steps
            is_touched = bool(folder) and lies_in(folder, touched)
            tests = tuple(replace(each, touched=is_touched) for each in offer.test_commands)
            needs += replace(offer, steps=steps, test_commands=tests)
    return _Manifests(needs, tuple(found))


def _test_commands(manifests: _Manifests, job: ChosenJob | None) -> tuple[TestCommand, ...]:
    """Return commands that may serve as gates: CI's own where they run in what is set up, then those of manifests."""
    direct: list[TestCommand] = []
    indirect: list[TestCommand] = []
    for line in job.reading.tests if job else []:
        command = as_gate(line.line.text)
        if cannot_fail(command):
            continue
        where = f"{job.reading.source} {line.where}" if job else line.where
        prefix = "".join(
            f"{name}={shlex.quote(value)} "
            for name, value in sorted(line.variables.items())
            if not _CI_VARIABLES.match(name)
        )
        own = makes_its_own_environment(command) or line.line.indirect or "$" in command or "\n" in command
        is_simple = "\n" not in command and not re.match(r"^(?:\w+=|\(|cd )", command)
        text = f"env {prefix}{command}" if prefix and is_simple else command
        own = own or "\n" in text
        (indirect if own else direct).append(TestCommand(text, where, line.folder))
    of_manifests = manifests.needs.test_commands
    ours_first = any(ecosystem in _MANIFESTS_FIRST and not folder for ecosystem, folder in manifests.found[:1])
    found = [*of_manifests, *direct, *indirect] if ours_first else [*direct, *of_manifests, *indirect]
    unique: dict[tuple[str, str], TestCommand] = {}
    for each in found:
        unique.setdefault((each.command, each.folder), each)
    return tuple(unique.values())


def _of_user(  # noqa: PLR0917 - one call
    given: DetectionInput,
    documents: Documents,
    tests: tuple[TestCommand, ...],
    services: tuple,  # type: ignore[type-arg]
    manifests: _Manifests,
    job: ChosenJob | None,
) -> SetupPlan:
    script = given.setup or ""
    step = SetupStep(
        f"sh ./{shlex.quote(script)}",
        f"[codexteam.sandbox] setup ({script})",
        Ecosystem.OTHER,
        reads=tuple(dict.fromkeys((script, *(path for each in manifests.needs.steps for path in each.reads)))),
    )
    needs = Offer((step,), offline_variables=manifests.needs.offline_variables)
    if not (given.base and given.has_images):
        # where no image has all of it, the script finds the places that set-ups of ours use
        base = _tools(documents, step.source, manifests, of_machine=True)
        optional = tuple(replace(each, optional=True) for each in base.steps)
        needs = replace(base, steps=(*optional, step), toolchains=())
    needs = replace(needs, test_commands=tests, services=services, notices=tuple(documents.problems))
    if services:
        own = tuple(ServiceCommand(line, step.source) for line in database_lines(documents.text(script)))
        needs = replace(needs, service_commands=own or (_service_commands(job.reading) if job else ()))
    needs = _with_services_ready(needs, given)
    sources = [
        Source(SourceKind.USER, f"[codexteam.sandbox] setup ({script})", used=True, why="it is the user's word"),
        *_of_base(given),
    ]
    if job is not None:
        sources.append(
            Source(SourceKind.CI, job.reading.source, used=bool(services), why="its services and test commands")
        )
    return SetupPlan(tuple(sources), needs, secrets=True)


def _of_devcontainer(
    documents: Documents, given: DetectionInput, sources: list[Source], manifests: _Manifests
) -> SetupPlan | None:
    path = devcontainer_path(documents)
    if path is None:
        return None
    if not given.trusted:
        sources.append(Source(SourceKind.DEVCONTAINER, path, used=False, why="the project is not trusted"))
        return None
    found = read_devcontainer_steps(documents, path, given.environment, given.workspace)
    if not found.needs.steps:
        said = "; ".join(found.needs.notices)
        sources.append(Source(SourceKind.DEVCONTAINER, path, used=False, why=said or "it runs no command that sets up"))
        return None
    used = (*sources, Source(SourceKind.DEVCONTAINER, path, used=True, why="its own commands set up"))
    sources.append(Source(SourceKind.DEVCONTAINER, path, used=False, why="its commands failed"))
    # its commands find the places that all of ours share; an image of its own may need none of them
    base = _tools(documents, path, manifests, of_machine=True)
    optional = tuple(replace(step, optional=True) for step in base.steps)
    needs = found.needs
    needs = replace(base, steps=optional, variables={}) + replace(
        needs, variables={**base.variables, **needs.variables}
    )
    return SetupPlan(used, needs, user=found.user)


def _of_copilot(
    documents: Documents, wanted: Mapping[str, str], sources: list[Source], manifests: _Manifests
) -> SetupPlan | None:
    reading = copilot_steps(documents, wanted)
    if reading is None:
        return None
    if not reading.is_complete:
        sources.append(Source(SourceKind.COPILOT, reading.source, used=False, why="; ".join(reading.notices)))
        return None
    steps = tuple(_literal(line, reading, optional=line.may_fail) for line in reading.before)
    if not steps:
        sources.append(Source(SourceKind.COPILOT, reading.source, used=False, why="it has no command that sets up"))
        return None
    used = (*sources, Source(SourceKind.COPILOT, reading.source, used=True, why="it is written for agents"))
    sources.append(Source(SourceKind.COPILOT, reading.source, used=False, why="its steps failed"))
    # the tools that its actions bring, and the places that all of ours share
    base = _tools(documents, reading.source, manifests, reading.ecosystems)
    needs = replace(
        base,
        steps=(*base.steps, *steps),
        services=tuple(reading.services),
        service_commands=_service_commands(reading),
    )
    return SetupPlan(used, replace(needs, system_packages=tuple(reading.packages)))


def _tools(
    documents: Documents,
    source: str,
    manifests: _Manifests,
    asked: Collection[Ecosystem] = (),
    *,
    of_machine: bool = False,
) -> Offer:
    """Return what manifests say, without what they install."""
    needs = manifests.needs
    kept: tuple[SetupStep, ...] = ()
    wanted = {*asked, *(ecosystem for ecosystem, _ in manifests.found)}
    if Ecosystem.PYTHON in wanted:
        kept += python.environment_only(documents, source, of_machine=of_machine).steps
    if Ecosystem.NODE in wanted:
        kept += node.node_steps(toolchains.node(documents.view))
        if documents.has("package.json"):
            kept += node.manager_steps(documents, "", node.package_manager(documents, ""))
    return replace(needs, steps=kept)


def _literal(line: JobLine, reading: JobReading, *, optional: bool) -> SetupStep:
    return SetupStep(
        line.line.text,
        f"{reading.source} {line.where}",
        Ecosystem.OTHER,
        line.folder,
        (reading.source.partition(" job ")[0],),
        optional,
        line.shell,
        {key: value for key, value in line.variables.items() if not _CI_VARIABLES.match(key)},
    )


def _of_manifests_and_ci(
    documents: Documents,
    manifests: _Manifests,
    job: ChosenJob | None,
    tests: tuple[TestCommand, ...],
    sources: list[Source],
) -> SetupPlan:
    needs = manifests.needs
    found = [Source(SourceKind.MANIFESTS, _said(ecosystem, folder), used=True) for ecosystem, folder in manifests.found]
    if job is None:
        looked = [path for path in (GITLAB, CIRCLE, TRAVIS) if documents.has(path)]
        if documents.view.below(".github/workflows", ".yml", ".yaml"):
            looked.insert(0, ".github/workflows")
        none = [Source(SourceKind.CI, path, used=False, why="no job in it is known to run tests") for path in looked]
        none += [
            Source(SourceKind.CI, path, used=False, why="files of this service are not read")
            for path in unread_files(documents)
        ]
        return SetupPlan((*sources, *none, *found), replace(needs, test_commands=tests))
    reading = job.reading
    needs = needs + _of_ci(reading, needs, manifests)
    needs = replace(needs, test_commands=tests)
    source = Source(SourceKind.CI, reading.source, used=True, why=job.why)
    return SetupPlan((*sources, source, *found), needs)


def _said(ecosystem: Ecosystem, folder: str) -> str:
    return f"{ecosystem.value} in {folder}" if folder else ecosystem.value


def _of_ci(reading: JobReading, needs: Offer, manifests: _Manifests) -> Offer:
    """Return what a job adds to manifests: packages, variables, services, and steps of its own, which may fail."""
    steps: list[SetupStep] = []
    has_python = any(ecosystem is Ecosystem.PYTHON for ecosystem, _ in manifests.found)
    for line in reading.before:
        step = _literal(line, reading, optional=True)
        match line.line.kind:
            case CommandKind.PIP if has_python:
                words = " ".join(shlex.quote(word) for word in line.line.packages)
                steps.append(replace(step, command=f"uv pip install {words}", ecosystem=Ecosystem.PYTHON))
            case CommandKind.MANIFEST:
                steps += _more_of_a_lock(step)
            case CommandKind.OTHER:
                steps.append(step)
            case CommandKind.SERVICE if reading.services or not needs_a_server(line.line.text):
                steps.append(step)
            case _:
                continue
    known = {each.command for each in needs.steps}
    variables = {
        key: value for key, value in reading.variables.items() if not _CI_VARIABLES.match(key) and "$" not in value
    }
    return Offer(
        tuple(step for step in steps if step.command not in known),
        variables={key: value for key, value in variables.items() if key not in needs.variables},
        services=tuple(reading.services),
        service_commands=_service_commands(reading),
        system_packages=tuple(dict.fromkeys(reading.packages)),
        notices=tuple(reading.notices),
    )


def _service_commands(reading: JobReading) -> tuple[ServiceCommand, ...]:
    """Return what a job does to its services before the tests; a job without services has none for it."""
    if not reading.services:
        return ()
    return tuple(
        ServiceCommand(
            in_ready_environment(line.line.text),
            f"{reading.source} {line.where}",
            line.folder,
            {key: value for key, value in line.variables.items() if not _CI_VARIABLES.match(key)},
        )
        for line in reading.service_lines
    )


def _more_of_a_lock(step: SetupStep) -> list[SetupStep]:
    """Return the groups and extras that a job asks of `uv sync` in words; our own step has only those it knows."""
    if not step.command.startswith("uv sync"):
        return []
    words = re.findall(
        r"--(?:all-extras|all-groups|all-packages|no-default-groups|(?:extra|group|package|only-group)[= ]\S+)",
        step.command,
    )
    words = [word for word in words if not word.startswith(("--only", "--no-default"))]
    if not words or "$" in "".join(words):
        return []
    command = f"uv sync --frozen --inexact {' '.join(words)}"
    return [replace(step, command=command, ecosystem=Ecosystem.PYTHON)]
