"""What `codexteam doctor` says of the environment that a repository's files ask for: what is missing, and what to do."""

import shutil
from collections.abc import Iterator, Mapping

from codexteam.adapters.machine import checks
from codexteam.app.doctor_check import DoctorCheck, Status
from codexteam.config.settings import SandboxSettings
from codexteam.core.text import count_of
from codexteam.environment.detection import DetectionInput, detect
from codexteam.environment.plan import SetupPlan
from codexteam.environment.repository_view import RepositoryView

_NAME = "environment"
#: What bubblewrap shows of the host: programs in a home folder are not there.
_SEEN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINES = 6


def environment_checks(
    settings: SandboxSettings,
    view: RepositoryView,
    environment: Mapping[str, str],
    *,
    trusted: bool,
    on_host: bool,
) -> tuple[DoctorCheck, ...]:
    """Look at what would be set up, a line for each thing that is missing; nothing is built.

    Args:
        settings: `[codexteam.sandbox]`.
        environment: the user's.
        view: the repository at the commit that is checked out.
        trusted: whether the project's own devcontainer and registries count.
        on_host: whether sandboxes are made from this host's programs, and not from an image.
    """
    if not settings.builds_environments:
        why = "pods are as their image is" if settings.kind == "kubernetes" else "build_environment = false"
        found = f"{why}: tests run in sandboxes as they come"
        return (DoctorCheck(_NAME, Status.OK, found),)
    given = DetectionInput(
        settings.setup,
        settings.service_commands,
        settings.image,
        settings.dockerfile,
        has_images=not on_host,
        trusted=trusted,
    )
    plan = detect(view, given)[0]
    sources = ", ".join(source.where for source in plan.sources if source.used)
    steps = count_of(len(plan.needs.steps), "step")
    found = f"set up from {sources} in {steps}" if plan.needs.steps else "no file asks for anything to be set up"
    missing = [*_missing_on_host(plan, environment)] if on_host else []
    missing += [DoctorCheck(_NAME, Status.WARN, text) for text in plan.needs.notices][:_LINES]
    if not plan.needs.test_commands:
        advice = 'set commands in [codexteam.gates], such as ["make check"]'
        missing.append(DoctorCheck(_NAME, Status.WARN, "no file says how the tests are run", advice))
    return (DoctorCheck(_NAME, Status.OK, f"{found}; codexteam env shows it"), *missing)


def _missing_on_host(plan: SetupPlan, environment: Mapping[str, str]) -> Iterator[DoctorCheck]:
    for toolchain in plan.needs.toolchains:
        gone = [program for program in toolchain.programs if shutil.which(program, path=_SEEN) is None]
        # what has no advice is brought by a step
        if gone and toolchain.install:
            asks = f", which {toolchain.source} asks for" if toolchain.source else ""
            wanted = f"{toolchain.ecosystem.value} {toolchain.version}".strip()
            found = f"the toolchain {wanted}{asks} is missing: there is no {' and no '.join(gone)} in {_SEEN}"
            yield DoctorCheck(_NAME, Status.WARN, found, toolchain.install)
    packages = checks.packages_not_installed(plan.needs.system_packages, environment)
    if packages:
        source = next((step.source for step in plan.needs.steps if step.needs_root), "CI")
        found = f"{source} installs {', '.join(packages)}, which this host has not; tests may need them"
        yield DoctorCheck(_NAME, Status.WARN, found, f"apt-get install {' '.join(packages)}, as far as they exist here")
    for service in plan.needs.services:
        found = f"{service.source} has the service {service.name} ({service.image}) beside the tests"
        advice = "bubblewrap starts no services: use the docker engine, or gate commands that need none"
        yield DoctorCheck(_NAME, Status.WARN, found, advice)
