"""PHP: what `composer.lock` names, with the packages for development; it lies in the tree, under `vendor`."""

import re

from codexteam.core.ids import JSONObject
from codexteam.environment.documents import Documents, dig, join, mapping, strings
from codexteam.environment.plan import BIN, CACHE, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("composer.json",)
_RUNNERS = (
    ("pestphp/pest", "vendor/bin/pest"),
    ("phpunit/phpunit", "vendor/bin/phpunit"),
    ("symfony/phpunit-bridge", "vendor/bin/simple-phpunit"),
    ("codeception/codeception", "vendor/bin/codecept run"),
    ("phpspec/phpspec", "vendor/bin/phpspec run"),
)


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Composer package needs; an empty offer where there is none."""
    manifest = join(folder, "composer.json")
    found = documents.json(manifest)
    if not found:
        return Offer()
    lock = join(folder, "composer.lock")
    locked = documents.has(lock) and bool(documents.json(lock))
    version = dig(found, "config", "platform", "php") or dig(found, "require", "php")
    extensions = sorted(
        name for key in ("require", "require-dev") for name in mapping(found.get(key)) if name.startswith("ext-")
    )
    options = "--no-interaction --no-progress --prefer-dist"
    # an extension that only some code needs does not keep the rest from being installed; a command that lacks it says so
    command = f"composer {'install' if locked else 'update'} {options}"
    command = f"{command} || {command} --ignore-platform-req='ext-*' || {command} --ignore-platform-reqs"
    if not _packages(found):
        # nothing but a runner, which the machine may have itself
        command = f"{command} || {{ command -v phpunit && composer dump-autoload --dev; }}"
    return Offer(
        (
            SetupStep(
                command, lock if locked else manifest, Ecosystem.PHP, folder, (manifest, *((lock,) if locked else ()))
            ),
        ),
        toolchains=(
            Toolchain(
                Ecosystem.PHP,
                (re.search(r"\d+\.\d+", version) or [""])[0] if isinstance(version, str) else "",
                manifest,
                ("php", "composer"),
                "install php-cli and composer (and "
                + (", ".join(f"php-{name[4:]}" for name in extensions) or "php-xml and php-mbstring")
                + "), or use the docker engine with [codexteam.sandbox] image",
            ),
        ),
        variables={"COMPOSER_ALLOW_SUPERUSER": "1", "COMPOSER_NO_AUDIT": "1"},
        setup_variables={"COMPOSER_CACHE_DIR": f"{CACHE}/composer", "COMPOSER_NO_INTERACTION": "1"},
        offline_variables={"COMPOSER_DISABLE_NETWORK": "1"},
        paths=(BIN,),
        test_commands=tuple(_tests(documents, folder)),
    )


def _packages(found: JSONObject) -> list[str]:
    """Return the packages that are neither the platform nor a test runner."""
    runners = {package for package, _ in _RUNNERS}
    named = [name for key in ("require", "require-dev") for name in mapping(found.get(key))]
    return [name for name in named if "/" in name and name not in runners]


def _tests(documents: Documents, folder: str) -> list[TestCommand]:
    manifest = join(folder, "composer.json")
    found = documents.json(manifest)
    tests: list[TestCommand] = []
    scripts = mapping(found.get("scripts"))
    tests += [
        TestCommand(f"composer run-script --timeout=0 {name}", f"{manifest} scripts.{name}", folder)
        for name in ("test", "tests", "phpunit", "test:unit", "unit")
        if strings(scripts.get(name))
    ]
    needed = {**mapping(found.get("require")), **mapping(found.get("require-dev"))}
    tests += [
        TestCommand(command, f"{manifest} require-dev {package}", folder)
        for package, command in _RUNNERS
        if package in needed
    ]
    configuration = documents.first(folder, ("phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml"))
    if configuration is not None:
        # a runner of the machine's does not find the autoloader by itself
        named = "bootstrap=" in documents.text(configuration)
        command = "phpunit" if named else "phpunit --bootstrap vendor/autoload.php"
        tests.append(TestCommand(command, configuration, folder))
    return tests
