"""Task folders of Harbor: `instruction.md`, `task.toml`, `environment/`, `tests/test.sh`.

Those that `eval mine` writes also say where they begin, in `[metadata.codexteam]`. Of others, the files of `environment/`
are the repository, its Dockerfile makes the sandbox, and `tests/test.sh` runs in the workspace with `/tests` and
`/logs/verifier` in other places. A task that names another absolute place, such as `/app`, lives in its image: it is left
out, and Harbor runs it.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codexteam.core.eval_task import EvalTask, HiddenTests, ReferenceSolution, StartCommit, StartFiles, safe_name
from codexteam.ports.sandbox import WORKSPACE

TASK_FILE, INSTRUCTION = "task.toml", "instruction.md"
#: The table in `task.toml` of the tasks that `eval mine` makes.
MARK = "codexteam"
BUNDLE = "environment/repository.bundle"
HIDDEN = "tests/hidden"
REFERENCE = "solution/solution.patch"
_TESTS, _VERIFIER = ".harbor/tests", "/tmp/harbor-verifier"  # noqa: S108 - inside a sandbox
_ELSEWHERE = re.compile(r"(?<![\w./-])/(?:app|root|home|srv|data)\b")
_GRADE = (
    f"rm -rf {_VERIFIER}; mkdir -p {_VERIFIER}; bash {_TESTS}/test.sh; "
    f"grep -Eq '^[[:space:]]*1(\\.0*)?[[:space:]]*$' {_VERIFIER}/reward.txt || "
    f"grep -Eq '\"reward\"[[:space:]]*:[[:space:]]*1(\\.0*)?[^0-9.]' {_VERIFIER}/reward.json"
)


def harbor_folders(root: Path) -> list[Path]:
    """Return the tasks in a folder, in order: itself, or those in it."""
    if (root / TASK_FILE).is_file():
        return [root]
    return sorted(found.parent for found in root.glob(f"*/{TASK_FILE}"))


def harbor_task(folder: Path) -> EvalTask | tuple[str, str]:
    """Return the task of a folder, or its name and why it is none."""
    name = safe_name(folder.name)
    try:
        task = tomllib.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
        goal = (folder / INSTRUCTION).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        return name, f"it cannot be read: {error}"
    if not goal:
        return name, f"{INSTRUCTION} is empty"
    seconds = _table(task, "agent").get("timeout_sec")
    limit = float(seconds) if isinstance(seconds, int | float) else None
    mark = _table(_table(task, "metadata"), MARK)
    if mark:
        return _mined(folder, name, goal, mark, limit)
    if "steps" in task:
        return name, "it has several steps, which are not read"
    tests = _files(folder / "tests")
    if "test.sh" not in tests:
        return name, "it has no tests/test.sh"
    if _ELSEWHERE.search(goal + "".join(data.decode("utf-8", "replace") for data in tests.values())):
        return name, "it lives in its image (it names /app or the like); Harbor runs it, with our agent too"
    moved = {f"{_TESTS}/{path}": _moved(data) for path, data in tests.items()}
    start = _files(folder / "environment")
    if not start:
        return name, "environment/ is empty"
    dockerfile = "Dockerfile" if "Dockerfile" in start else ""
    return EvalTask(
        name, goal, StartFiles(start), HiddenTests((_GRADE,), files=moved), seconds=limit, dockerfile=dockerfile
    )


def _mined(
    folder: Path, name: str, goal: str, mark: Mapping[str, Any], seconds: float | None
) -> EvalTask | tuple[str, str]:
    base, commands = mark.get("base"), mark.get("commands")
    if not isinstance(base, str) or not isinstance(commands, list) or not (folder / BUNDLE).is_file():
        return name, f"[metadata.{MARK}] lacks base or commands, or {BUNDLE} is not there"
    keep = mark.get("keep_commands")
    kept = keep if isinstance(keep, list) else []
    reference = folder / REFERENCE
    return EvalTask(
        name,
        goal,
        StartCommit(str(folder / BUNDLE), base),
        HiddenTests(tuple(map(str, commands)), tuple(map(str, kept)), files=_files(folder / HIDDEN)),
        ReferenceSolution(patch=reference.read_text(encoding="utf-8", errors="surrogateescape"))
        if reference.is_file()
        else None,
        seconds,
    )


def _table(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _files(folder: Path) -> dict[str, bytes]:
    return {
        found.relative_to(folder).as_posix(): found.read_bytes()
        for found in sorted(folder.rglob("*"))
        if found.is_file() and not found.is_symlink()
    }


def _moved(data: bytes) -> bytes:
    """Let what a file says of Harbor's places be where they are here."""
    places = {b"/logs/verifier": _VERIFIER.encode(), b"/tests": f"{WORKSPACE}/{_TESTS}".encode()}
    for place, here in places.items():
        data = re.sub(rb"(?<![\w./-])" + re.escape(place) + rb"(?![\w-])", here.replace(b"\\", b"\\\\"), data)
    return data
