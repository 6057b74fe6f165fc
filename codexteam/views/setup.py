"""What `init` and `doctor` print."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from codexteam.app.doctor import Examination
from codexteam.app.doctor_check import DoctorCheck
from codexteam.app.init_offers import ModelOffer
from codexteam.config.installing import Action, InstalledFile
from codexteam.core.text import clean, clean_line
from codexteam.environment.plan import SCRIPT_PATH
from codexteam.views.streams import OutputStreams, fit

#: Names of a list of models that are shown; services have hundreds.
_SHOWN = 24


def print_examination(output: OutputStreams, examination: Examination) -> None:
    """Print what was checked, and what to do about what is missing."""
    if output.json_lines:
        for check in examination.checks:
            words = {"found": clean_line(check.found), "advice": clean_line(check.advice)}
            output.record({"type": "check", "name": check.name, "status": check.status.value, **words})
        ok = examination.exit_code == 0
        output.record({"type": "doctor.completed", "ok": ok, "exit_code": examination.exit_code})
        return
    for check in examination.checks:
        output.write(fit(_check(check), output.out, indent=9))
    ready = "Ready: a run can start." if examination.exit_code == 0 else "Not ready: see the lines marked fail."
    output.write(f"\n{ready}\n")


def _check(check: DoctorCheck) -> str:
    indent = "\n" + " " * 6
    lines = f"{check.status.value:<4}  {check.name}: {clean(check.found)}".replace("\n", indent)
    return lines + (f"{indent}-> {clean(check.advice)}" if check.advice else "") + "\n"


def print_installed(output: OutputStreams, files: Sequence[InstalledFile], environment: Mapping[str, str]) -> None:
    """Print one line per file: its path and what was done with it."""
    home = Path(environment.get("HOME", "/nonexistent"))
    for file in files:
        shown = f"~/{file.path.relative_to(home)}" if file.path.is_relative_to(home) else str(file.path)
        note = ""
        if file.backup is not None:
            note = f"  (backup: {file.backup.name})"
        elif file.action is Action.KEPT:
            note = "  (yours; --force replaces it)" if file.replaceable else "  (yours)"
        output.write(clean_line(f"{file.action.value:<9}  {shown}{note}") + "\n")


def print_setup_offer(output: OutputStreams) -> None:
    """Print what the script is for that `init --project` writes."""
    output.write(
        f"\n{SCRIPT_PATH} is what a run sets up automatically for the tests, as a script. To change it, edit and commit it,\n"
        f'then say so in .codex/codexteam.config.toml: [codexteam.sandbox] setup = "{SCRIPT_PATH}"\n'
    )


def print_offers(output: OutputStreams, offers: Sequence[ModelOffer]) -> None:
    """Print the models that can be chosen from."""
    if not offers:
        return
    output.write("\n")
    for offer in offers:
        more = f", and {len(offer.models) - _SHOWN} more" if len(offer.models) > _SHOWN else ""
        names = ", ".join(map(clean_line, offer.models[:_SHOWN]))
        output.write(f"{clean_line(offer.provider)} lists these models: {names}{more}\n")
        for model, near in offer.missing.items():
            output.write(f"`{clean_line(model)}` is not among them: {near}\n")
    output.write(
        "Change them under [codexteam.models] in codexteam.config.toml, or with codexteam init --force --model NAME.\n"
    )


def print_next_steps(output: OutputStreams, project_root: Path | None, unpriced: Sequence[str] = ()) -> None:
    """Print what to do after `init`; `unpriced` are models of which no price is known."""
    trust = (
        ""
        if project_root is None
        else "A project's configuration counts only where you trust it. In config.toml of your Codex home:\n"
        f"  [projects.{json.dumps(clean_line(str(project_root)), ensure_ascii=False)}]\n"
        '  trust_level = "trusted"\n'
    )
    money = (
        "A limit in USD (--budget 5usd) counts by the prices that ship, or by yours under\n"
        "[codexteam.prices.MODEL]; one in tokens (--budget 2000k) needs none.\n"
    )
    if unpriced:
        money += f"No price is known of {clean_line(', '.join(unpriced))}: set it before you use a limit in USD.\n"
    output.write(f"\n{trust}{money}Next: codexteam doctor\n")
