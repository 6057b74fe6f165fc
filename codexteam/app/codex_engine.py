"""The user's Codex as the engine of agents: found, checked, and what of it is worth knowing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from codexteam.app.doctor_check import DoctorCheck, Status
from codexteam.config.settings import Settings
from codexteam.config.team import engine_of, roles_on_codex
from codexteam.core.plan_windows import UsageWindow
from codexteam.errors import ModelAccessError
from codexteam.ports.harness import HarnessReport

if TYPE_CHECKING:
    from codexteam.adapters.codex_cli.binary import CodexBinary
    from codexteam.adapters.codex_cli.harness import CodexHarness

_INSTALL = (
    "install it (`npm install -g @openai/codex`), or use an API key (export CODEX_API_KEY=...) with --engine codexteam"
)


def installed_codex(settings: Settings, environment: Mapping[str, str]) -> "CodexBinary":
    """Return the Codex on the user's PATH; nothing is started.

    Raises:
        ModelAccessError: there is none.
    """
    from codexteam.adapters.codex_cli.binary import find_codex

    binary = find_codex(environment)
    if binary is None:
        why = why_codex(settings)
        raise ModelAccessError(f"the engine is codex ({why}), and there is no `codex` on the PATH", hint=_INSTALL)
    return binary


def make_harness(settings: Settings, environment: Mapping[str, str]) -> "CodexHarness":
    """Return the user's Codex, not started yet; owned by the caller, who closes it.

    Raises:
        ModelAccessError: there is none.
    """
    from codexteam.adapters.codex_cli.harness import CodexHarness

    return CodexHarness(
        installed_codex(settings, environment),
        codex_home=settings.codex_home,
        environment=environment,
        mcp_servers=tuple(settings.mcp_servers),
        needs_sign_in=_needs_sign_in(settings),
    )


def _needs_sign_in(settings: Settings) -> bool:
    ids = {settings.roles[name].model.provider_id for name in roles_on_codex(settings)}
    return any(settings.providers[id_].requires_openai_auth for id_ in ids if id_ in settings.providers)


async def checked(harness: "CodexHarness", settings: Settings) -> HarnessReport:
    """Start a harness, and return what it is.

    Raises:
        ModelAccessError: it cannot be used.
    """
    report = await harness.check()
    if not report.usable:
        raise ModelAccessError(
            f"your Codex ({report.path}) cannot be used as engine: {report.problem}",
            hint=f"it is the engine because of: {why_codex(settings)}; `codexteam --engine codexteam` needs an API key",
        )
    return report


def engine_words(report: HarnessReport, settings: Settings) -> str:
    """Say in a line whose agents run on which Codex, with which account, and why."""
    from codexteam.adapters.codex_cli.binary import TRIED_VERSION, is_untried

    roles = roles_on_codex(settings)
    whose = "all agents" if len(roles) == len(settings.roles) else ", ".join(roles)
    account = f", {report.account}" if report.account else ""
    plan = [window_words(window) for window in report.windows]
    plan += [report.balance.words] if report.balance is not None else []
    known = "".join(f"; {words}" for words in plan)
    tried = ".".join(str(part) for part in TRIED_VERSION)
    newer = f", newer than {tried}, the newest that was tried" if is_untried(report.version) else ""
    return (
        f"Engine of {whose}: your Codex {report.version}{newer} ({report.path}{account}): {why_codex(settings)}{known}"
    )


def window_words(window: UsageWindow) -> str:
    """Say how far a window of the plan is used up."""
    return f"{window.used_percent:g} % of the {window.name} limit used"


def why_codex(settings: Settings) -> str:
    """Return why Codex is the engine of the first role whose engine it is."""
    roles = roles_on_codex(settings)
    return engine_of(settings.roles[roles[0]], settings).why if roles else ""


async def engine_check(settings: Settings, environment: Mapping[str, str]) -> DoctorCheck | None:
    """Look at the user's Codex, where a role's agents are to be run by it; None where none is."""
    if not roles_on_codex(settings):
        return None
    try:
        harness = make_harness(settings, environment)
        try:
            report = await checked(harness, settings)
        finally:
            await harness.close()
    except ModelAccessError as error:
        return DoctorCheck("engine", Status.FAIL, str(error), error.hint)
    return DoctorCheck("engine", Status.OK, engine_words(report, settings))
