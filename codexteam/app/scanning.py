"""Whether there is anything to scan with, and what follows: without it the gate `scan` is left out."""

from pathlib import Path

from codexteam.adapters.scan.programs import ScanPrograms, find_programs
from codexteam.config.settings import GateSettings
from codexteam.core.ids import GateName
from codexteam.errors import ConfigError
from codexteam.ports.scanner import Scanner

_HINT = "pip install 'codexteam[scan]', or set [codexteam.gates.scan] commands"


def usable_gates(gates: GateSettings) -> tuple[GateName, ...]:
    """Return the gates that are enabled; a scan only where there is something to scan with."""
    if GateName.SCAN not in gates.enabled or gates.scan.commands or find_programs() is not None:
        return gates.enabled
    return tuple(gate for gate in gates.enabled if gate is not GateName.SCAN)


def refuse_scan_without_scanner(gates: GateSettings) -> None:
    """See that a scan that the configuration names can be done; as one of all gates it is left out instead.

    Raises:
        ConfigError: there is nothing to scan with.
    """
    if gates.enabled != GateSettings().enabled and usable_gates(gates) != gates.enabled:
        raise ConfigError("[codexteam.gates] enabled names `scan`, and there is nothing to scan with", hint=_HINT)


def make_scanner(gates: GateSettings, folder: Path) -> Scanner | None:
    """Return what scans changed files, which it copies into a folder of the run's; None if it is missing, or not wanted."""
    programs = find_programs() if GateName.SCAN in gates.enabled else None
    if programs is None:
        return None
    from codexteam.adapters.scan.source_scanner import SourceScanner

    return SourceScanner(programs, folder)


def scan_words(gates: GateSettings) -> tuple[bool, str, str]:
    """Say what scans changes: whether anything does, what, and what to do if nothing does."""
    if GateName.SCAN not in gates.enabled:
        return False, "the gate is not enabled", "add `scan` to [codexteam.gates] enabled"
    programs: ScanPrograms | None = find_programs()
    looks = (*(programs.names if programs else ()), *(f"`{command}`" for command in gates.scan.commands))
    if not looks:
        return False, "nothing to scan with: changes are not scanned", _HINT
    return True, f"{', '.join(looks)}: changes are scanned for weaknesses", ""
