"""Which of ruff's security rules (S, bandit's) count, what weakness they are of, and how grave."""

from typing import Final

from codexteam.core.scan_hits import HitLevel

#: What ruff says where it sees that a command is a fixed text.
SEEMS_SAFE: Final = "seems safe"

#: Rule to weakness and level. Left out: what is no weakness by itself (assert, random, missing timeouts, any use of a
#: subprocess, any argument `shell=True`), and what our own rules tell more precisely (passwords in the code).
RUFF_RULES: Final[dict[str, tuple[str, HitLevel]]] = {
    "S102": ("eval", HitLevel.WARNING),
    "S103": ("permissions", HitLevel.WARNING),
    "S201": ("debug-mode", HitLevel.WARNING),
    "S202": ("path-traversal", HitLevel.WARNING),
    "S301": ("unsafe-deserialisation", HitLevel.WARNING),
    "S302": ("unsafe-deserialisation", HitLevel.WARNING),
    "S306": ("temporary-file", HitLevel.WARNING),
    "S307": ("eval", HitLevel.WARNING),
    "S308": ("html-injection", HitLevel.WARNING),
    "S313": ("xml-entities", HitLevel.WARNING),
    "S314": ("xml-entities", HitLevel.WARNING),
    "S315": ("xml-entities", HitLevel.WARNING),
    "S316": ("xml-entities", HitLevel.WARNING),
    "S317": ("xml-entities", HitLevel.WARNING),
    "S318": ("xml-entities", HitLevel.WARNING),
    "S319": ("xml-entities", HitLevel.WARNING),
    "S323": ("tls-off", HitLevel.ERROR),
    "S324": ("weak-hash", HitLevel.WARNING),
    "S501": ("tls-off", HitLevel.ERROR),
    "S502": ("tls-off", HitLevel.ERROR),
    "S503": ("tls-off", HitLevel.ERROR),
    "S504": ("tls-off", HitLevel.WARNING),
    "S505": ("weak-key", HitLevel.ERROR),
    "S506": ("unsafe-deserialisation", HitLevel.ERROR),
    "S507": ("tls-off", HitLevel.ERROR),
    "S508": ("weak-protocol", HitLevel.WARNING),
    "S509": ("weak-protocol", HitLevel.WARNING),
    "S601": ("shell-injection", HitLevel.WARNING),
    "S602": ("shell-injection", HitLevel.WARNING),
    "S605": ("shell-injection", HitLevel.WARNING),
    "S608": ("sql-by-string", HitLevel.WARNING),
    "S609": ("shell-injection", HitLevel.WARNING),
    "S610": ("sql-by-string", HitLevel.WARNING),
    "S611": ("sql-by-string", HitLevel.WARNING),
    "S612": ("eval", HitLevel.WARNING),
    "S701": ("html-injection", HitLevel.WARNING),
    "S702": ("html-injection", HitLevel.WARNING),
    "S704": ("html-injection", HitLevel.WARNING),
}
