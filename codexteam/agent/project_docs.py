"""AGENTS.md: which files count, in which order, and how much of them. As Codex 0.169 does it, measured.

One file of `$CODEX_HOME`, then one of each folder from the project's root down to the working directory: the first that
is there of `AGENTS.override.md`, `AGENTS.md` and the fallback names. A blank override hides the others and says nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from codexteam.config.settings import ProjectDocSettings
from codexteam.core.text import WHITE_SPACE

_NAMES = ("AGENTS.override.md", "AGENTS.md")
_SEPARATOR = "\n\n--- project-doc ---\n\n"
_ADVICE = (
    "Trim your project instructions to fit the budget. If you need to keep them all, increase `project_doc_max_bytes`."
)

Reader = Callable[[str], Awaitable[bytes | None]]
"""Gives a file's bytes by its path, `/`-separated and relative to what the reader reads; None when it is not there."""


@dataclass(frozen=True, slots=True)
class ProjectDocs:
    """The instructions for a role's agents, as one message."""

    text: str = ""
    """Empty when there are none."""
    sources: tuple[str, ...] = ()
    """The files it is made of, for the receipt: `$CODEX_HOME/AGENTS.md`, `AGENTS.md`, `lib/AGENTS.md`."""
    notices: tuple[str, ...] = ()
    """What was cut or left out, for the user."""


def folder_chain(folder: str, markers: Sequence[str], exists: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the folders whose documents count for `folder`, the project's root first; `""` is the repository's root.

    Args:
        folder: The working directory, relative to the repository's root.
        markers: `project_root_markers`; without any only the working directory counts.
        exists: Whether a path of the repository, file or folder, is there. `.git` at its root always is.
    """
    parts = [part for part in folder.split("/") if part]
    chain = ["/".join(parts[:count]) for count in range(len(parts) + 1)]
    for start in range(len(chain) - 1, -1, -1):
        here = chain[start]
        if any((marker == ".git" and not here) or exists(f"{here}/{marker}".lstrip("/")) for marker in markers):
            return tuple(chain[start:])
    return (chain[-1],)


async def load_project_docs(
    settings: ProjectDocSettings,
    *,
    folders: Sequence[str],
    trusted: bool | None,
    read_project: Reader,
    read_home: Reader,
    workspace: str,
) -> ProjectDocs:
    """Read what counts.

    Args:
        settings: `project_doc_*`.
        folders: What `folder_chain` gave.
        trusted: The project's trust. Explicitly untrusted, only the user's own file is read.
        read_project: Reads the base commit, so that no agent can change its own instructions.
        read_home: Reads `$CODEX_HOME`.
        workspace: Where the agent finds the repository's root.
    """
    reading = _Reading(settings.max_bytes)
    home = await _first(read_home, "", _NAMES, skip_blank=True)
    own = home[1].decode(errors="replace").strip(WHITE_SPACE) if home else ""
    if trusted is not False and settings.max_bytes > 0:
        fallbacks = tuple(name for name in settings.fallback_filenames if name and "/" not in name)
        for folder in folders:
            found = await _first(read_project, folder, (*_NAMES, *fallbacks), skip_blank=False)
            if found:
                reading.take(*found)
    body = _SEPARATOR.join(part for part in (own, "\n\n".join(reading.texts)) if part)
    if not body:
        return ProjectDocs(notices=tuple(reading.notices))
    size = len(body.encode())
    if 0 < settings.max_bytes < size:
        reading.notices.append(
            f"Combined user instructions use {size} bytes, above the {settings.max_bytes}-byte `project_doc_max_bytes` "
            "setting. The limit applies only to project files."
        )
    where = f" for {'/'.join(filter(None, (workspace, folders[-1])))}" if reading.texts else ""
    return ProjectDocs(
        text=f"# AGENTS.md instructions{where}\n\n<INSTRUCTIONS>\n{body}\n</INSTRUCTIONS>",
        sources=(*((f"$CODEX_HOME/{home[0]}",) if home and own else ()), *reading.sources),
        notices=tuple(reading.notices),
    )


async def _first(read: Reader, folder: str, names: Sequence[str], *, skip_blank: bool) -> tuple[str, bytes] | None:
    for name in dict.fromkeys(names):
        path = f"{folder}/{name}" if folder else name
        data = await read(path)
        if data is not None and not (skip_blank and _is_blank(data)):
            return path, data
    return None


def _is_blank(data: bytes) -> bool:
    return not data.decode(errors="replace").strip(WHITE_SPACE)


class _Reading:
    """Takes the project's files in their order until the budget is spent."""

    def __init__(self, budget_bytes: int) -> None:
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.notices: list[str] = []
        self._budget_bytes = budget_bytes
        self._left_bytes = budget_bytes

    def take(self, path: str, data: bytes) -> None:
        if self._left_bytes < 0:
            return
        if not self._left_bytes:
            self._left_bytes = -1
            self.notices.append(
                f"Skipped project instructions starting at `{path}` because the {self._budget_bytes}-byte budget was "
                f"exhausted. {_ADVICE}"
            )
            return
        kept = data[: self._left_bytes]
        if len(kept) < len(data):
            self.notices.append(
                f"Loaded only {len(kept)} of {len(data)} bytes from `{path}` under the {self._budget_bytes}-byte "
                f"project instruction budget. {_ADVICE}"
            )
        if _is_blank(kept):
            return
        self._left_bytes -= len(kept)
        self.texts.append(kept.decode(errors="replace"))
        self.sources.append(path)
