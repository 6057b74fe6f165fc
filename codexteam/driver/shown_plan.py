"""What of plan.md is the user's edit, and what only an older version of ours that a crash left on disk.

A run is killed after its state was stored and before plan.md was written: the file then shows less than the state has.
So every version is noted before it is written. A file that is one of them is no edit; in one that is an edit, tasks that
the user cannot have seen are not taken out. While the run is at work, a file whose tasks were never shown so is an edit
too: it is not written over.
"""

import contextlib
import hashlib
from dataclasses import replace

from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan import Plan
from codexteam.core.plan_md import normal_plan, parse
from codexteam.errors import PlanError
from codexteam.ports.store import Store

_SPACE = "plan_file"
_KEY = "shown"


async def note_shown(store: Store, run_id: RunId, *, on_disk: str | None, text: str, plan: Plan) -> None:
    """Note a version that is about to be written; the one on disk stays noted until the new one is there."""
    known = await _versions(store, run_id)
    here = [version for version in known if on_disk is not None and version.get("sha256") == _digest(on_disk)]
    # in the place of a file that is not ours, any of ours may be what the user began from
    before = here or known
    tasks: list[JSONValue] = [str(task.id) for task in plan.tasks]
    new: JSONObject = {"sha256": _digest(text), "tasks": tasks}
    with contextlib.suppress(PlanError):  # what a secret was taken out of may be no plan any more
        new["meaning"] = _meaning(text)
    versions: list[JSONValue] = [*(version for version in before if version != new), new]
    await store.put(f"{run_id}/{_SPACE}", _KEY, {"versions": versions[-8:]})


async def was_shown(store: Store, run_id: RunId, text: str) -> bool:
    """Say whether a plan.md is, to the letter, a version that was noted: nothing of it is the user's edit."""
    return _is_among(await _versions(store, run_id), text)


async def is_edited(store: Store, run_id: RunId, text: str) -> bool:
    """Say whether a plan.md that can be read says something of tasks, Later or Risks that the run never showed."""
    versions = await _versions(store, run_id)
    if _is_among(versions, text):
        return False
    # an older codexteam noted none
    meanings = [version["meaning"] for version in versions if "meaning" in version]
    return bool(meanings) and _meaning(text) not in meanings


async def users_edit(store: Store, run_id: RunId, text: str, known: Plan) -> Plan | None:
    """Give the plan of a plan.md that the user changed; None where nobody did.

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
        if task.id not in there and any(task.id not in _tasks(version) for version in versions)
    )
    edited = replace(edited, tasks=(*edited.tasks, *unseen))
    same = (edited.tasks, edited.later, edited.risks) == (known.tasks, known.later, known.risks)
    return None if same else edited


async def _versions(store: Store, run_id: RunId) -> list[JSONObject]:
    stored = await store.get(f"{run_id}/{_SPACE}", _KEY)
    versions = stored.get("versions") if stored else None
    return [version for version in versions if isinstance(version, dict)] if isinstance(versions, list) else []


def _is_among(versions: list[JSONObject], text: str) -> bool:
    digest = _digest(text)
    return any(version.get("sha256") == digest for version in versions)


def _tasks(version: JSONObject) -> list[JSONValue]:
    tasks = version.get("tasks")
    return tasks if isinstance(tasks, list) else []


def _meaning(text: str) -> str:
    """Give a short digest of what a plan.md says that the run takes in."""
    plan = normal_plan(parse(text).plan())
    return _digest(repr((plan.tasks, plan.later, plan.risks)))[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
