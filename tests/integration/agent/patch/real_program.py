"""The real program's `apply_patch`: Codex's native binary under that name, in a folder of its own."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import codex_binary


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it said, and every file there is afterwards."""

    accepted: bool
    message: str
    """Standard output, or standard error without its last newline; the folder is written `{root}`."""
    files: dict[str, bytes]


def native_binary() -> Path | None:
    """Codex's own binary: npm's `codex` is a script beside it."""
    found = codex_binary()
    if found is None:
        return None
    path = Path(found).resolve()
    if path.suffix != ".js":
        return path
    scope = path.parent.parent.parent
    return next((file for file in sorted(scope.glob("codex*/vendor/*/**/codex")) if file.is_file()), None)


def run_real(program: Path, files: dict[str, bytes], patch: str) -> Outcome:
    """Run `program` (named apply_patch) over `files`."""
    with tempfile.TemporaryDirectory(prefix="patch-") as folder:
        root = Path(folder).resolve()
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        done = subprocess.run([program], input=patch.encode(), cwd=root, capture_output=True, check=False, timeout=30)
        said = done.stdout.decode() if done.returncode == 0 else done.stderr.decode().removesuffix("\n")
        return Outcome(done.returncode == 0, said.replace(str(root), "{root}"), dict(_files_below(root)))


def _files_below(root: Path) -> Iterator[tuple[str, bytes]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            yield str(path.relative_to(root)), path.read_bytes()
