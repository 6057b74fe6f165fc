"""The file that the program inside a sandbox is shipped as."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

from codexteam.adapters.sandbox.program import (
    compile_command,
    program_hash,
    server_program,
    server_settings,
    start_command,
)

#: Ends what the source says, so that what still runs is compiled code.
_BROKEN = b'raise SystemExit("the source was read")\n'


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(entries: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def _compiled(folder: Path) -> dict[str, bytes]:
    path, target = folder / "plain.pyz", folder / "compiled.pyz"
    path.write_bytes(server_program())
    subprocess.run(compile_command(sys.executable, str(path), str(target)), check=True)
    return _entries(target.read_bytes())


def _hello(path: Path) -> tuple[bytes, bytes]:
    """What a server says to a host that is gone at once, and what it complains of."""
    folder = path.parent
    settings = server_settings(workspace=str(folder), private=str(folder / "p"), alone=False, output_cap_bytes=1)
    done = subprocess.run(
        start_command(sys.executable, str(path), settings), input=b"", capture_output=True, check=False, cwd="/"
    )
    return done.stdout, done.stderr


def test_the_program_has_the_same_bytes_in_every_process_and_says_no_time() -> None:
    line = "from codexteam.adapters.sandbox.program import program_hash; print(program_hash())"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == program_hash()
    with zipfile.ZipFile(io.BytesIO(server_program())) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_module_of_the_program_can_be_read_by_python_3_7() -> None:
    for name, data in _entries(server_program()).items():
        ast.parse(data, name, feature_version=(3, 7))


def test_the_program_imports_the_standard_library_and_itself_alone() -> None:
    for name, data in _entries(server_program()).items():
        for node in ast.walk(ast.parse(data)):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found = [str(node.module)]
            else:
                continue
            tops = {each.partition(".")[0] for each in found}
            assert tops <= sys.stdlib_module_names | {"server" if name == "__main__.py" else ""}, (name, tops)


def test_compiled_code_runs_without_a_look_at_its_source(tmp_path: Path) -> None:
    entries = {name: data if name.endswith(".pyc") else _BROKEN for name, data in _compiled(tmp_path).items()}
    said, complaint = _hello(_pack(entries, tmp_path / "broken.pyz"))
    assert b'"kind": "hello"' in said, complaint


def test_code_that_another_python_compiled_is_passed_over_for_its_source(tmp_path: Path) -> None:
    other = b"\x00\x00\r\n"
    entries = {name: other + data[4:] if name.endswith(".pyc") else data for name, data in _compiled(tmp_path).items()}
    said, complaint = _hello(_pack(entries, tmp_path / "other.pyz"))
    assert b'"kind": "hello"' in said, complaint


def test_the_program_can_be_compiled_again_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "server.pyz"
    path.write_bytes(server_program())
    subprocess.run(compile_command(sys.executable, str(path), str(path)), check=True)
    assert [each.name for each in tmp_path.iterdir()] == ["server.pyz"]
    assert b'"kind": "hello"' in _hello(path)[0]
