"""`artifacts`: the files that a run left, with what each is."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codexteam.app.project import Project, pick_run, reading_store
from codexteam.app.receipts import receipts_of
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.store import RunRecord


class ArtifactKind(StrEnum):
    """What a file of a run is."""

    PLAN = "plan"
    REPORT = "report"
    NOTES = "notes"
    HISTORY = "history"
    PATCH = "patch"
    SNAPSHOT = "snapshot"
    """An agent's workspace, as a git pack; `salvage --export` writes it as a patch."""
    LOG = "log"
    RECEIPT = "receipt"
    """What an agent was started with. It is in the state file: `codexteam show` prints it."""
    ARCHIVE = "archive"
    OTHER = "file"


#: What commits are checked out from, in a run's folder: of no interest to people.
_CHECKOUTS = "base"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file, or a receipt."""

    kind: ArtifactKind
    what: str
    """What it is about: an attempt, an agent, a file's name. Foreign."""
    path: Path
    size_bytes: int

    def as_json(self, run_id: RunId) -> JSONObject:
        """Return it for programs."""
        return {
            "type": "artifact",
            "run": run_id,
            "kind": self.kind.value,
            "what": self.what,
            "path": str(self.path),
            "bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class RunArtifacts:
    """What one run left."""

    run_id: RunId
    folder: Path
    found: tuple[Artifact, ...]


def run_artifacts(project: Project, run: str | None) -> RunArtifacts:
    """Return the files of a run, what people read first.

    Raises:
        UsageError: there is no such run.
    """
    return asyncio.run(_artifacts(project, run))


async def _artifacts(project: Project, run: str | None) -> RunArtifacts:
    async with reading_store(project) as store:
        record = await pick_run(store, run)
        receipts = list(await receipts_of(store, record.run_id))
    files = await asyncio.to_thread(lambda: list(_files(project, record)))
    files += [Artifact(ArtifactKind.RECEIPT, _receipt_name(name), project.store_path, 0) for name in receipts]
    order = list(ArtifactKind)
    found = sorted(files, key=lambda one: (order.index(one.kind), _natural(one.what)))
    return RunArtifacts(record.run_id, project.run_folder(record.run_id), tuple(found))


def _receipt_name(key: str) -> str:
    """Return the agent's name of a receipt's key, `<role>/<purpose>/<task>/<attempt>`."""
    role, purpose, task, attempt = key.split("/", 3) if key.count("/") == 3 else (key, "", "", "")
    return f"{role} {task or purpose}.{attempt}" if attempt else key


def _files(project: Project, record: RunRecord) -> Iterator[Artifact]:
    from codexteam.adapters.machine.run_files import PLAN_NAME

    plan = project.places.root / PLAN_NAME
    if plan.is_file() and _is_of_run(plan, record.run_id):
        yield Artifact(ArtifactKind.PLAN, plan.name, plan, plan.stat().st_size)
    folder = project.run_folder(record.run_id)
    kept = (project.state_dir / "kept" / record.run_id).glob("*.pack")
    for path in (*sorted(folder.rglob("*")), *sorted(kept), *_archives(project, record.run_id)):
        if path.is_file() and not path.is_symlink() and not path.is_relative_to(folder / _CHECKOUTS):
            kind, what = _described(path, folder)
            yield Artifact(kind, what, path, path.stat().st_size)


def _archives(project: Project, run_id: RunId) -> list[Path]:
    return sorted((project.state_dir / "archive").glob(f"{run_id}*.tar"))


def _is_of_run(plan: Path, run_id: RunId) -> bool:
    with plan.open("rb") as file:
        return run_id.encode() in file.read(4096)


def _described(path: Path, folder: Path) -> tuple[ArtifactKind, str]:
    """Return what a file is, by its name and place."""
    inside = path.relative_to(folder).parts if path.is_relative_to(folder) else (path.name,)
    name = path.name
    if name.endswith(".tar"):
        return ArtifactKind.ARCHIVE, name
    if name.endswith(".pack"):
        return ArtifactKind.SNAPSHOT, _attempt(inside) or path.stem
    if name.endswith((".patch", ".bundle")):
        return ArtifactKind.PATCH, "/".join(inside)
    if name.startswith("report."):
        return ArtifactKind.REPORT, name
    if name == "events.jsonl":
        return ArtifactKind.HISTORY, name
    if name.startswith("plan"):
        return ArtifactKind.PLAN, name
    if name.endswith(".md"):
        return ArtifactKind.NOTES, name
    if name.endswith((".log", ".txt")) or "logs" in inside:
        return ArtifactKind.LOG, "/".join(inside)
    return ArtifactKind.OTHER, "/".join(inside)


def _attempt(inside: tuple[str, ...]) -> str:
    """Return `T1.1, turn 3` for `tasks/T1/1/turn-3.pack`."""
    match inside:
        case ("tasks", owner, attempt, *_, file):
            turn = re.fullmatch(r"turn-(\d+)\.\w+", file)
            return f"{owner}.{attempt}, {f'turn {turn[1]}' if turn else file}"
        case _:
            return ""


def _natural(text: str) -> list[tuple[int, str]]:
    """Order `T2` before `T10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]
