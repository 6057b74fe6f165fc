"""The name of an environment: the same for the same contents, and for nothing else."""

import hashlib
from collections.abc import Callable, Iterable, Mapping

from codexteam.environment.plan import SetupPlan

#: Changes when the same plan would make something else than before.
FORM = 2


def environment_key(
    plan: SetupPlan,
    read: Callable[[str], bytes | None],
    *,
    base: str,
    platform: str,
    registries: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return the key of the environment that a plan makes.

    Args:
        plan: the plan. Its notices and its reasons do not count: they change nothing that is built.
        read: gives a file of the repository at the base commit.
        base: the id of the base image, or what tells one host from another (its tools and their versions).
        platform: system and processor.
        registries: `RegistryConfiguration.identity`: without credentials.
        extra: what else counts, by name: the versions of tools that the builder brings.
    """
    digest = hashlib.sha256()

    def count(*parts: str) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)

    def count_all(name: str, values: Iterable[str]) -> None:
        known = list(values)
        count(name, str(len(known)), *known)

    count(f"form {FORM}", base, platform, plan.user)
    for step in plan.needs.steps:
        flags = f"{step.optional} {step.needs_root} {bool(step.group)}"
        count("step", step.command, step.folder, step.shell, flags)
        count_all("variables", _pairs(step.variables))
    for toolchain in plan.needs.toolchains:
        count("toolchain", toolchain.ecosystem.value, toolchain.version, *toolchain.programs)
    count_all("variables", _pairs(plan.needs.variables))
    count_all("setup variables", _pairs(plan.needs.setup_variables))
    count_all("paths", plan.needs.paths)
    count_all("packages", sorted(plan.needs.system_packages))
    for service in plan.needs.services:
        count("service", service.name, service.image, str(service.ports), service.health, *service.command)
        count_all("variables", _pairs(service.environment))
    for each in plan.needs.service_commands:
        count("service command", each.command, each.folder)
        count_all("variables", _pairs(each.variables))
    count_all("registries", sorted(registries))
    count_all("extra", _pairs(extra or {}))
    for path in plan.reads:
        data = read(path)
        count("file", path, "missing" if data is None else hashlib.sha256(data).hexdigest())
    return digest.hexdigest()[:20]


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={values[name]}" for name in sorted(values)]
