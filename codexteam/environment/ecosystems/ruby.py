"""Ruby: the gems of `Gemfile.lock`, all groups, outside the tree, beside those that the machine has."""

import re

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, join
from codexteam.environment.plan import CACHE, HOME, Ecosystem, Offer, SetupStep, TestCommand, Toolchain

MANIFESTS = ("Gemfile", "gems.rb")
_GEMS = f"{HOME}/gems"


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Ruby project needs; an empty offer where there is none."""
    manifest = documents.first(folder, MANIFESTS)
    if manifest is None:
        return Offer()
    wanted = toolchains.ruby(documents.view)
    lock = documents.first(folder, ("Gemfile.lock", "gems.locked"))
    prefix = f"{folder}/" if folder else ""
    specs = [path for path in documents.view.paths if path.endswith(".gemspec") and "/" not in path[len(prefix) :]]
    names = (manifest, lock or "", ".ruby-version", *(path for path in specs if path.startswith(prefix)))
    reads = tuple(name for name in names if name and documents.has(name))
    # a lock that lacks this platform, or was left behind, is better than no gems
    command = "BUNDLE_FROZEN=true bundle install || bundle install" if lock else "bundle install"
    # a machine's own gems may be enough
    command = f"{command} || bundle install --local"
    return Offer(
        (
            SetupStep("command -v bundle >/dev/null || gem install --no-document bundler", manifest, Ecosystem.RUBY),
            SetupStep(command, lock or manifest, Ecosystem.RUBY, folder, reads),
        ),
        toolchains=(
            Toolchain(
                Ecosystem.RUBY,
                wanted.version,
                wanted.source,
                ("ruby", "bundle"),
                "install ruby (Debian: ruby-full and build-essential), or use the docker engine",
            ),
        ),
        variables={
            "GEM_HOME": _GEMS,
            "BUNDLE_APP_CONFIG": f"{HOME}/bundle-config",
            "BUNDLE_VERSION": "system",
            "BUNDLE_SILENCE_ROOT_WARNING": "1",
        },
        setup_variables={"BUNDLE_USER_CACHE": f"{CACHE}/bundle", "BUNDLE_JOBS": "4", "BUNDLE_RETRY": "2"},
        offline_variables={"BUNDLE_DISABLE_VERSION_CHECK": "true", "BUNDLE_ALLOW_OFFLINE_INSTALL": "true"},
        paths=(f"{_GEMS}/bin",),
        test_commands=tuple(_tests(documents, folder)),
        notices=(wanted.notice,) if wanted.notice else (),
    )


def _tests(documents: Documents, folder: str) -> list[TestCommand]:
    prefix = f"{folder}/" if folder else ""
    found = []
    rakefile = documents.first(folder, ("Rakefile", "rakefile", "Rakefile.rb"))
    if documents.has(join(folder, "bin/rails")) and any(p.startswith(f"{prefix}test/") for p in documents.view.paths):
        found.append(TestCommand("bin/rails test", join(folder, "bin/rails"), folder))
    if any(path.startswith(f"{prefix}spec/") and path.endswith("_spec.rb") for path in documents.view.paths):
        source = documents.first(folder, (".rspec",)) or join(folder, "spec")
        found.append(TestCommand("bundle exec rspec", source, folder))
    if rakefile is not None:
        text = documents.text(rakefile)
        if re.search(r"TestTask|^\s*task\s*\(?\s*[:\"']?test\b|Minitest::", text, re.MULTILINE):
            found.append(TestCommand("bundle exec rake test", rakefile, folder))
        elif not found and "default" in text:
            found.append(TestCommand("bundle exec rake", rakefile, folder))
    return found
