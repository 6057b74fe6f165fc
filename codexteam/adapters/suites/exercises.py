"""Folders of exercises as Exercism lays them out; Aider's polyglot benchmark is made of them.

`.meta/config.json` says which files are the solution's and which the tests'; the instructions are in `.docs`.
"""

import json
import os
from pathlib import Path, PurePosixPath

from codexteam.core.eval_task import EvalTask, HiddenTests, ReferenceSolution, StartFiles, safe_name

CONFIG = ".meta/config.json"
#: Folders of an exercise that are not for who solves it; the last two show solutions.
_KEPT_BACK = (".meta/", ".docs/", ".approaches/", ".articles/")
_INSTRUCTIONS = ("introduction.md", "introduction.append.md", "instructions.md", "instructions.append.md")
#: What runs the tests of an exercise, by the ending of its test files.
_COMMANDS = {
    ".py": "python3 -m unittest {modules}",
    ".go": "go test ./...",
    ".rs": "cargo test -- --include-ignored",
    ".js": "npm test",
}


def exercise_folders(root: Path) -> list[Path]:
    """Return the exercises below a folder, in order."""
    found = []
    for folder, folders, _ in os.walk(root):  # passes over what it may not read
        if (Path(folder) / CONFIG).is_file():
            found.append(Path(folder))
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
    return sorted(found)


def exercise_task(root: Path, folder: Path, test_command: str) -> EvalTask | tuple[str, str]:
    """Return the task of an exercise, or its name and why it is none.

    Args:
        root: the suite's folder; what is below it names the task.
        folder: the exercise.
        test_command: what runs the tests, in place of what their language's do; `{files}` is their paths.
    """
    inner = folder.relative_to(root).parts
    name = safe_name("-".join(part for part in inner if part not in {"exercises", "practice", "concept"}) or root.name)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        named = {key: [str(path) for path in config["files"].get(key, ())] for key in ("solution", "test", "example")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return name, f"{CONFIG} cannot be read"
    said = [folder / ".docs" / part for part in _INSTRUCTIONS]
    instructions = "\n\n".join(part.read_text(encoding="utf-8").strip() for part in said if part.is_file())
    tests = {path: data for path in named["test"] if (data := _bytes(folder / path)) is not None}
    if not instructions or not tests:
        return name, "it has no .docs/instructions.md, or none of its test files is there"
    if not test_command:
        endings = {PurePosixPath(path).suffix for path in tests}
        test_command = next((line for ending, line in _COMMANDS.items() if ending in endings), "")
    if not test_command:
        return name, f"nothing is known that runs {next(iter(tests))}: say what does with --test-command"
    modules = " ".join(path.removesuffix(".py").replace("/", ".") for path in tests if path.endswith(".py"))
    command = test_command.replace("{modules}", modules).replace("{files}", " ".join(tests))
    start = {
        path: data
        for found in sorted(folder.rglob("*"))
        if found.is_file() and not found.is_symlink()
        if not (path := found.relative_to(folder).as_posix()).startswith(_KEPT_BACK) and path not in tests
        if (data := _bytes(found)) is not None
    }
    example = [_bytes(folder / path) for path in named["example"]]
    pairs = list(zip(named["solution"], example, strict=False))
    known = {path: data for path, data in pairs if data is not None}
    where = ", ".join(named["solution"]) or "the files that are there"
    goal = f"{instructions}\n\nWrite the solution into {where}. Keep the names that are there."
    runs = frozenset(path for path in start if (folder / path).stat().st_mode & 0o100)
    return EvalTask(
        name,
        goal,
        StartFiles(start, runs),
        HiddenTests((command,), files=tests),
        ReferenceSolution(files=known) if known and len(known) == len(named["solution"]) else None,
    )


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
