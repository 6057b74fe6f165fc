"""Deno: from the registry of JavaScript packages, with what `deno.lock` names; the tests run once in a set-up.

Only then it has all modules that tests import by their addresses.
"""

import re

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, dig, join, mapping
from codexteam.environment.ecosystems.node import SETUP_VARIABLES, node_steps
from codexteam.environment.plan import BIN, TOOLS, WRITTEN, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("deno.json", "deno.jsonc")
_TESTS = re.compile(r"(?:^|[/_.])test\.(?:ts|tsx|mts|js|jsx|mjs)$")


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Deno project needs; an empty offer where there is none."""
    manifest = documents.first(folder, MANIFESTS)
    if manifest is None:
        return Offer()
    found = documents.json(manifest)
    lock = join(folder, "deno.lock")
    locked = documents.has(lock) and bool(documents.json(lock))
    reads = (
        manifest,
        *((lock,) if locked else ()),
        *((p,) if documents.has(p := join(folder, "package.json")) else ()),
    )
    install = "deno install --frozen || deno install" if locked else "deno install --no-lock"
    tests = _tests(documents, folder, manifest, dig(found, "tasks", "test"))
    if not tests and not mapping(found.get("imports")):
        return Offer()
    place = f"{TOOLS}/deno"
    program = (
        f"command -v deno >/dev/null && exit 0\nmkdir -p {BIN} {place}\n"
        f"npm install --prefix {place} --no-save --no-package-lock --loglevel error deno\n"
        f"ln -sf {place}/node_modules/.bin/deno {BIN}/deno\ndeno --version"
    )
    return Offer(
        (
            *node_steps(toolchains.node(documents.view)),
            SetupStep(program, manifest, Ecosystem.DENO),
            SetupStep(install, lock if locked else manifest, Ecosystem.DENO, folder, reads),
        ),
        toolchains=(Toolchain(Ecosystem.DENO, "", manifest, ("deno",)),),
        variables={"DENO_DIR": f"{WRITTEN}/deno", "DENO_NO_UPDATE_CHECK": "1"},
        setup_variables=SETUP_VARIABLES,
        paths=(BIN,),
        test_commands=tests,
    )


def _tests(documents: Documents, folder: str, manifest: str, task: object) -> tuple[TestCommand, ...]:
    if task:
        return (TestCommand("deno task test", f"{manifest} tasks.test", folder, warm_up=True),)
    prefix = f"{folder}/" if folder else ""
    if any(path.startswith(prefix) and _TESTS.search(path) for path in documents.view.paths):
        # nobody answers questions about permissions in a sandbox
        return (TestCommand("deno test --allow-all", manifest, folder, warm_up=True),)
    return ()
