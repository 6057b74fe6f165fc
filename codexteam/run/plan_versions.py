"""What of plan.md is the user's edit, and what only an older version of ours that a crash left on disk.

A run is killed after its state was stored and before plan.md was written: the file then shows less than the state has.
So every version is recorded before it is written. A file that is one of them is not an edit; in one that is an edit, tasks that
the user cannot have seen are not taken out. While the run is at work, a file whose tasks were never shown so is an edit
too: it is not written over.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.core.codec import StoredForm, decode, encode_object, stored
from codexteam.core.ids import RunId, TaskId
from codexteam.core.plan_graph import Plan
from codexteam.core.plan_md import PlanDocument, normal_plan, normal_text, parse
from codexteam.errors import PlanError
from codexteam.ports.store import Store

_SPACE = "plan_file"
_KEY = "shown"


@stored(StoredForm(tag="", optional=("meaning", "goal")))
@dataclass(frozen=True, slots=True)
class PlanVersion:
    """A version of plan.md that the run wrote, by digests of what it says."""

    sha256: str
    tasks: tuple[TaskId, ...]
    marks: str = ""
    """The mark of each task, in the order of `tasks`."""
    meaning: str | None = None
    """None if the file was no longer a plan, and in records of older versions; so is `goal`."""
    goal: str | None = None


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class PlanVersions:
    """The newest versions, oldest first."""

    versions: tuple[PlanVersion, ...]


async def note_shown(store: Store, run_id: RunId, *, on_disk: str | None, text: str, plan: Plan) -> PlanDocument | None:
    """Note a version that is about to be written; the one on disk stays noted until the new one is there.

    Returns:
        The version, read; None if it is no plan any more.
    """
    known = await _versions(store, run_id)
    here = [version for version in known if on_disk is not None and version.sha256 == _digest(on_disk)]
    # in the place of a file that is not ours, any of ours may be what the user began from
    before = here or known
    marks = "".join(task.status.value for task in plan.tasks)
    new = PlanVersion(_digest(text), tuple(task.id for task in plan.tasks), marks)
    document = None
    with contextlib.suppress(PlanError):  # what a secret was taken out of may be no plan any more
        document = parse(text)
        shown = document.plan()
        new = replace(new, meaning=_meaning_of(shown), goal=_goal(shown))
    versions = (*(version for version in before if version != new), new)
    await store.put(f"{run_id}/{_SPACE}", _KEY, encode_object(PlanVersions(versions[-8:])))
    return document


async def was_shown(store: Store, run_id: RunId, text: str) -> bool:
    """Return whether a plan.md is, to the letter, a version that was noted: nothing of it is the user's edit."""
    return _is_among(await _versions(store, run_id), text)


async def is_edited(store: Store, run_id: RunId, text: str) -> bool:
    """Return whether a plan.md that can be read says something of the goal or the tasks that the run never showed.

    Later and Risks count as well.
    """
    versions = await _versions(store, run_id)
    if _is_among(versions, text):
        return False
    # an older codexteam noted none
    meanings = [version.meaning for version in versions if version.meaning]
    return bool(meanings) and (_meaning(text) not in meanings or _says_other_goal(versions, parse(text).plan()))


async def says_other_goal(store: Store, run_id: RunId, plan: Plan, goal: str) -> bool:
    """Return whether a file's goal is neither the run's nor one that the run showed, secrets taken out."""
    if normal_text(plan.goal).strip() == normal_text(goal).strip():
        return False
    versions = await _versions(store, run_id)
    # an older codexteam noted none, and kept whatever stood there
    return _says_other_goal(versions, plan)


async def marked_by_user(store: Store, run_id: RunId, plan: Plan) -> frozenset[TaskId]:
    """Return the tasks of a file whose mark no version of ours had: it is its user's, not one from before a crash."""
    shown: dict[TaskId, set[str]] = {}
    for version in await _versions(store, run_id):
        for task_id, mark in zip(version.tasks, version.marks, strict=False):
            shown.setdefault(task_id, set()).add(mark)
    return frozenset(task.id for task in plan.tasks if task.id in shown and task.status.value not in shown[task.id])


async def users_edit(store: Store, run_id: RunId, text: str, known: Plan) -> Plan | None:
    """Return the plan of a plan.md that the user changed; None where nobody did.

    Args:
        store: Where the versions are noted.
        run_id: The run.
        text: What stands in the file.
        known: The run's plan, as its state has it.

    Raises:
        PlanError: it cannot be read; names its line.
    """
    versions = await _versions(store, run_id)
    if _is_among(versions, text):
        return None
    edited, known = parse(text).plan(), normal_plan(known)
    there = {task.id for task in edited.tasks}
    unseen = tuple(
        task
        for task in known.tasks
        if task.id not in there and any(task.id not in version.tasks for version in versions)
    )
    edited = replace(edited, tasks=(*edited.tasks, *unseen))
    same = (edited.tasks, edited.later, edited.risks) == (known.tasks, known.later, known.risks)
    return None if same else edited


async def _versions(store: Store, run_id: RunId) -> tuple[PlanVersion, ...]:
    known = await store.get(f"{run_id}/{_SPACE}", _KEY)
    return () if known is None else decode(PlanVersions, known, "the stored versions of plan.md").versions


def _says_other_goal(versions: Sequence[PlanVersion], plan: Plan) -> bool:
    goals = [version.goal for version in versions if version.goal]
    return bool(goals) and _goal(plan) not in goals


def _goal(plan: Plan) -> str:
    return _digest(normal_text(plan.goal))[:16]


def _is_among(versions: Sequence[PlanVersion], text: str) -> bool:
    digest = _digest(text)
    return any(version.sha256 == digest for version in versions)


def _meaning(text: str) -> str:
    """Return a short digest of what a plan.md says that the run takes in."""
    return _meaning_of(parse(text).plan())


def _meaning_of(plan: Plan) -> str:
    plan = normal_plan(plan)
    return _digest(repr((plan.tasks, plan.later, plan.risks)))[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
