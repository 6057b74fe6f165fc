"""When the security reviewer is called: by what a diff touches, not by anybody's opinion."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

#: Words in a path or in an added line that call the reviewer, by what they stand for.
_WORDS = {
    "auth": r"auth(?!or)\w*|login|logout|passw(?:or)?d|session|jwt|oauth|saml|credential\w*|sign_?in|token",
    "secrets": r"secret\w*|api[_-]?key\w*|private[_-]?key|encrypt\w*|decrypt\w*|hashlib|hmac|crypt\w*|certificate",
    "permissions": r"permission\w*|chmod|chown|setuid|sudo|privilege\w*|acl|rbac|role_?check|is_admin",
    "fetches": r"requests\.|httpx|urllib|urlopen|aiohttp|fetch\(|axios|curl|wget|socket\w*|websocket",
    "commands": r"subprocess|os\.system|popen|exec\(|eval\(|shell\s*=\s*true|child_process",
    "deserialising": r"pickle|yaml\.load|deseriali[sz]\w*|marshal\.load",
    "file access": r"open\(|path\.join|send_file|upload\w*|tempfile|extractall|unlink|rmtree|\.\./",
    "user data": r"e-?mail|address|personal|gdpr|cookie\w*|sql|query\(",
    "markup": r"render_template_string|innerhtml|dangerouslysetinnerhtml|mark_safe",
}
_PATTERNS = {name: re.compile(rf"(?<![a-z])(?:{words})", re.IGNORECASE) for name, words in _WORDS.items()}


def security_reasons(paths: Iterable[str], added: str, *, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Say why the security reviewer must look; empty when nothing calls for it.

    `added` are the added lines of the diff. `more` are the user's own triggers: globs over paths, or words.
    """
    listed = list(paths)
    reasons = [name for name, pattern in _PATTERNS.items() if any(map(pattern.search, listed)) or pattern.search(added)]
    folded = added.casefold()
    reasons += [
        trigger
        for trigger in more
        if any(fnmatchcase(path, trigger) for path in listed) or (_is_word(trigger) and trigger.casefold() in folded)
    ]
    return tuple(reasons)


def _is_word(trigger: str) -> bool:
    return not any(char in trigger for char in "*?[/")


def added_lines(diff: str) -> str:
    """Give the added lines of a unified diff, without their mark."""
    lines = (line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++"))
    return "\n".join(lines)
