"""What is checked before a run begins or continues, and what people are told then of files that git ignores."""

import os
from collections.abc import Iterator, Mapping, Sequence

from codexteam.adapters.machine.checks import read_only_problem
from codexteam.adapters.machine.run_files import PLAN_NAME
from codexteam.adapters.machine.shared_state import group_id
from codexteam.app.doctor import check_access
from codexteam.app.project import Project
from codexteam.app.scanning import refuse_scan_without_scanner
from codexteam.config.settings import Settings
from codexteam.core.text import clean_line, count_of
from codexteam.errors import StoreError

#: Files that are named one by one.
_MOST_NAMED = 12


def check_beginning(settings: Settings, environment: Mapping[str, str], project: Project) -> None:
    """See that a run can write where it must, and has the keys that it will need; nothing is asked or made.

    Raises:
        StoreError: the project or the state folder is read-only.
        ModelAccessError: a key is missing.
        ConfigError: a gate or a group that the configuration names has nothing to work with.
    """
    refuse_scan_without_scanner(settings.team.gates)
    check_access(settings, environment)
    if settings.team.access.group is not None:
        group_id(settings.team.access.group)
    refuse_read_only(project)


def refuse_read_only(project: Project) -> None:
    """See that the project and the state folder can be written.

    Raises:
        StoreError: one is read-only; it is named.
    """
    if problem := read_only_problem(project.places.root):
        raise StoreError(
            f"{project.places.root}: the project folder {problem}: {PLAN_NAME} cannot be written into it",
            hint="make it writable, or work on a clone of it",
        )
    if problem := read_only_problem(project.state_dir):
        raise StoreError(
            f"{project.state_dir}: the state folder {problem}: nothing of a run could be kept",
            hint="make it writable, or name another one with --state-dir DIR",
        )


def copied_notices(files: Sequence[bytes], *, unused: bool) -> Iterator[str]:
    """Yield the notices at the start of a run.

    Args:
        files: the ignored files that every workspace gets.
        unused: the repository names such files and is not trusted.
    """
    if unused:
        yield (
            ".worktreeinclude is not used, as this project is not trusted: no file that git ignores is copied for it. "
            "To copy some, trust the project or name them in [codexteam.sandbox] copy_ignored."
        )
    if files:
        names = ", ".join(clean_line(os.fsdecode(path)) for path in files[:_MOST_NAMED])
        more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
        yield (
            f"{count_of(len(files), 'file')} that git ignores can be read in every sandbox "
            f"(copy_ignored, .worktreeinclude): {names}{more}"
        )
