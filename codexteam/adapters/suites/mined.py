"""Writes a mined task as a task folder of Harbor, which `codexteam eval` reads too."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w

from codexteam.adapters.suites.harbor import BUNDLE, HIDDEN, INSTRUCTION, MARK, REFERENCE, TASK_FILE
from codexteam.core.ids import JSONObject

#: What Harbor's container is made from; codexteam's own evaluation builds an environment instead.
_DOCKERFILE = """\
# For `harbor run`. Add what else the project's tests need.
FROM python:3.13-bookworm
COPY repository.bundle /tmp/repository.bundle
RUN git clone --quiet --no-tags --branch base /tmp/repository.bundle /app \\
 && rm -rf /tmp/repository.bundle /app/.git/logs && git -C /app remote remove origin
WORKDIR /app
RUN pip install --no-cache-dir pytest && { pip install --no-cache-dir -e . || true; }
"""


def write_mined(
    folder: Path, goal: str, mark: JSONObject, *, hidden: Mapping[str, bytes], patch: str, bundle: Path
) -> None:
    """Write a task, in place of one that is there.

    Args:
        folder: its folder.
        goal: the instruction.
        mark: what `[metadata.codexteam]` says: base, commands, ...
        hidden: the files of its tests, by their paths in the repository.
        patch: the reference solution.
        bundle: the base and its ancestors; moved.
    """
    shutil.rmtree(folder, ignore_errors=True)
    commands = [*_texts(mark.get("commands")), *_texts(mark.get("keep_commands"))]
    table = {
        "schema_version": "1.4",
        "metadata": {MARK: mark},
        "agent": {"timeout_sec": 3600.0},
        "verifier": {"timeout_sec": 1800.0},
    }
    texts = {
        INSTRUCTION: f"{goal}\n",
        TASK_FILE: tomli_w.dumps(table),
        "environment/Dockerfile": _DOCKERFILE,
        "tests/test.sh": _grading(commands),
        "solution/solve.sh": "#!/bin/bash\nset -e\ngit apply /solution/solution.patch\n",
    }
    files = {path: text.encode() for path, text in texts.items()}
    files[REFERENCE] = patch.encode("utf-8", "surrogateescape")
    files |= {f"{HIDDEN}/{path}": data for path, data in hidden.items()}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for script in ("tests/test.sh", "solution/solve.sh"):
        (folder / script).chmod(0o755)
    bundle.replace(folder / BUNDLE)


def _texts(value: object) -> Sequence[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _grading(commands: Sequence[str]) -> str:
    """Return a script that puts the hidden tests in place, runs them, and writes the reward."""
    lines = "\n".join(f"bash -c {shlex.quote(line)} || passed=0" for line in commands)
    return (
        "#!/bin/bash\n# Puts the hidden tests in place, runs them, and writes the reward.\n"
        f'cp -r /tests/hidden/. .\npassed=1\n{lines}\nmkdir -p /logs/verifier\necho "$passed" > /logs/verifier/reward.txt\n'
    )
