"""What an evaluation is made of: tasks, each with where it starts and the hidden tests that decide; and the arms that try.

A *task* begins at a commit, or from files. Its *hidden tests* are never there while agents work: they are put in place on
what the agents left, once they have stopped. An *arm* is a way to work: the team, one agent alone (`solo`), or the best of
several agents alone for what the team spent on the same task.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class StartCommit:
    """A commit of a repository on this machine; agents get it and its ancestors alone."""

    repository: str
    """A folder, or a bundle."""
    commit: str


@dataclass(frozen=True, slots=True)
class StartFiles:
    """Files that become the only commit."""

    files: Mapping[str, bytes]
    executable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HiddenTests:
    """What decides, put in place after the agents have stopped."""

    commands: tuple[str, ...]
    """Shell lines; the task is resolved if all of these and of `keep_commands` return 0."""
    keep_commands: tuple[str, ...] = ()
    """What passed before too: one that fails is a regression."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    patch: str = ""
    """Applied to the base for more such files."""
    commit: str = ""
    """Where more of them are taken from, by `paths`, in the repository of the start."""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceSolution:
    """A known good change: what shows, before anybody is paid, that the task can be resolved here."""

    patch: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvalTask:
    """One task of a suite."""

    name: str
    """Letters, digits, `.`, `_`, `-`; names folders."""
    goal: str
    start: StartCommit | StartFiles
    hidden: HiddenTests
    reference: ReferenceSolution | None = None
    seconds: float | None = None
    """How long its author lets an agent work."""
    dockerfile: str = ""
    """The file among the start's that sandboxes are built from, on Docker."""


@dataclass(frozen=True, slots=True)
class EvalSuite:
    """Tasks that are evaluated together."""

    name: str
    kind: str
    """`SWE-bench`, `Harbor` or `exercises`."""
    tasks: tuple[EvalTask, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """What could not be read as a task, and why."""


def safe_name(text: str) -> str:
    """Return a name that may be a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:120] or "task"


class ArmKind(StrEnum):
    """How an arm works."""

    TEAM = "team"
    SOLO = "solo"
    BEST = "best"
    """The best of several solos, for what the first team arm spent on the same task."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to work on every task."""

    name: str
    kind: ArmKind
    candidates: int = 1
    """How many solos it may take; 1 but for `best`."""
    options: tuple[str, ...] = ()
    """Words that stand before `run` on its command line: a model, a profile, `-c KEY=VALUE`."""


ARM_FORMS = (
    "team, solo or best-of-N, a name for it in front (fast=team), and options behind a colon: "
    "'fast=team: -m MODEL -c codexteam.limits.max_threads=2'"
)
_ARM = re.compile(
    r"(?:(?P<name>[A-Za-z0-9._-]{1,40})=)?(?P<kind>team|solo|best-of-(?P<count>[1-9][0-9]?))(?::(?P<options>.*))?",
    re.DOTALL,
)


def read_arm(text: str, split: Callable[[str], list[str]]) -> Arm:
    """Read what `--arm` says; `split` makes words of a line as a shell does.

    Raises:
        ValueError: says what is allowed.
    """
    found = _ARM.fullmatch(text.strip())
    if found is None:
        raise ValueError(ARM_FORMS)
    options = tuple(split(found["options"] or ""))
    word = found["kind"]
    kind = ArmKind.BEST if found["count"] else ArmKind(word)
    return Arm(found["name"] or word, kind, int(found["count"] or 1), options)
