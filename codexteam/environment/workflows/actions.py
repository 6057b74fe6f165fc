"""Actions that workflows use, by their names alone: what each asks for. Which release of one it is does not matter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.environment.expressions import as_text
from codexteam.environment.plan import Ecosystem

#: Inputs that name a version, by action.
_TOOLCHAINS: Mapping[str, tuple[Ecosystem, tuple[str, ...]]] = {
    "actions/setup-python": (Ecosystem.PYTHON, ("python-version",)),
    "astral-sh/setup-uv": (Ecosystem.PYTHON, ("python-version",)),
    "hynek/setup-cached-uv": (Ecosystem.PYTHON, ()),
    "pdm-project/setup-pdm": (Ecosystem.PYTHON, ("python-version",)),
    "snok/install-poetry": (Ecosystem.PYTHON, ()),
    "abatilo/actions-poetry": (Ecosystem.PYTHON, ()),
    "gr1n/setup-poetry": (Ecosystem.PYTHON, ()),
    "pypa/hatch": (Ecosystem.PYTHON, ()),
    "eifinger/setup-rye": (Ecosystem.PYTHON, ()),
    "wntrblm/nox": (Ecosystem.PYTHON, ("python-versions",)),
    "actions/setup-node": (Ecosystem.NODE, ("node-version",)),
    "pnpm/action-setup": (Ecosystem.NODE, ()),
    "oven-sh/setup-bun": (Ecosystem.NODE, ()),
    "volta-cli/action": (Ecosystem.NODE, ("node-version",)),
    "bahmutov/npm-install": (Ecosystem.NODE, ()),
    "wyvox/action-setup-pnpm": (Ecosystem.NODE, ("node-version",)),
    "actions/setup-go": (Ecosystem.GO, ("go-version",)),
    "actions/setup-java": (Ecosystem.JAVA, ("java-version",)),
    "gradle/actions/setup-gradle": (Ecosystem.JAVA, ()),
    "gradle/gradle-build-action": (Ecosystem.JAVA, ()),
    "s4u/setup-maven-action": (Ecosystem.JAVA, ("java-version",)),
    "ruby/setup-ruby": (Ecosystem.RUBY, ("ruby-version",)),
    "shivammathur/setup-php": (Ecosystem.PHP, ("php-version",)),
    "ramsey/composer-install": (Ecosystem.PHP, ()),
    "php-actions/composer": (Ecosystem.PHP, ("php_version",)),
    "actions/setup-dotnet": (Ecosystem.DOTNET, ("dotnet-version",)),
    "erlef/setup-beam": (Ecosystem.ELIXIR, ("elixir-version",)),
    "erlef/setup-elixir": (Ecosystem.ELIXIR, ("elixir-version",)),
    "shogo82148/actions-setup-perl": (Ecosystem.PERL, ("perl-version",)),
    "perl-actions/install-with-cpm": (Ecosystem.PERL, ()),
    "perl-actions/install-with-cpanm": (Ecosystem.PERL, ()),
    "dtolnay/rust-toolchain": (Ecosystem.RUST, ("toolchain",)),
    "actions-rs/toolchain": (Ecosystem.RUST, ("toolchain",)),
    "actions-rust-lang/setup-rust-toolchain": (Ecosystem.RUST, ("toolchain",)),
    "moonrepo/setup-rust": (Ecosystem.RUST, ("channel",)),
    "lukka/get-cmake": (Ecosystem.NATIVE, ()),
    "ilammy/setup-nasm": (Ecosystem.NATIVE, ()),
    "seanmiddleditch/gha-setup-ninja": (Ecosystem.NATIVE, ()),
}
#: Actions without which tests run the same.
_ASIDE = re.compile(
    r"^(?:actions/(?:checkout|cache(?:/\w+)?|upload-artifact|download-artifact|github-script|labeler|stale|attest\S*)"
    r"|codecov/.*|coverallsapp/.*|coveralls\S*/.*|codacy/.*|paambaati/.*|github/codeql-action/.*|sonarsource/.*"
    r"|docker/.*|actions-rs/(?:cargo|clippy-check)|swatinem/rust-cache|step-security/harden-runner|re-actors/.*"
    r"|dorny/.*|peter-evans/.*|peaceiris/.*|softprops/.*|aws-actions/.*|google-github-actions/.*|azure/login"
    r"|styfle/.*|rlespinasse/.*|slackapi/.*|mikepenz/.*|enricomi/.*|test-summary/.*|pmeier/.*|hmarr/.*|andymckay/.*"
    r"|awalsh128/cache-apt-pkgs-action|browser-actions/.*|egor-tensin/.*|jlumbroso/.*|insightsengineering/.*"
    r"|crazy-max/.*|fountainhead/.*|tj-actions/.*|anchore/.*|aquasecurity/.*|gradle/(?:actions/)?wrapper-validation\S*"
    r"|pre-commit/action|psf/black|chartboost/ruff-action|astral-sh/ruff-action|golangci/.*|crate-ci/typos"
    r"|dependabot/.*|fastify/github-action-merge-dependabot|actions/dependency-review-action|embarkstudios/.*)$"
)


@dataclass(frozen=True, slots=True)
class ActionFacts:
    """What an action asks for."""

    ecosystem: Ecosystem | None = None
    version: str = ""
    """As it stands there, the first of several."""
    packages: tuple[str, ...] = ()
    """Packages of the distribution."""
    aside: bool = False
    """It has nothing to do with what tests need."""
    installs: bool = False
    """It installs what the manifest names."""


def read_action(uses: str, inputs: JSONObject) -> ActionFacts | None:
    """Return what an action asks for; None for one that is not known.

    Args:
        uses: `owner/name@release`.
        inputs: what stands under `with`, its expressions worked out.
    """
    name, _, release = uses.partition("@")
    name = name.lower()
    if name == "actions/checkout":
        return ActionFacts(aside=True)
    if name == "awalsh128/cache-apt-pkgs-action":
        return ActionFacts(packages=tuple(as_text(inputs.get("packages")).split()))
    if name == "taiki-e/install-action":
        # binaries from release pages of a code host: named by whoever calls a command that is not there
        return ActionFacts(Ecosystem.RUST)
    if name in _TOOLCHAINS:
        ecosystem, keys = _TOOLCHAINS[name]
        version = next((_first_version(inputs.get(key)) for key in keys if inputs.get(key) is not None), "")
        if not version and ecosystem is Ecosystem.RUST and not re.fullmatch(r"[0-9a-f]{40}|v\d.*|master|main", release):
            version = release
        installs = name == "ruby/setup-ruby" and as_text(inputs.get("bundler-cache")) == "true"
        return ActionFacts(ecosystem, version, installs=installs or name.startswith("ramsey/"))
    return ActionFacts(aside=True) if _ASIDE.match(name) else None


def _first_version(value: JSONValue) -> str:
    text = as_text(value[0] if isinstance(value, list) and value else value)
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
