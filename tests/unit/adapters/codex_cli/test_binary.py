"""Which program is behind the `codex` that a user calls."""

from pathlib import Path

from codexteam.adapters.codex_cli.binary import codex_at, find_codex, is_new_enough, is_untried, version_of

_PROGRAM = b"\x7fELF\x02\x01\x01"


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755)
    return path


def _npm(folder: Path, *, nested: bool) -> Path:
    package = folder / "node_modules" / "@openai" / "codex"
    script = _write(package / "bin" / "codex.js", b"#!/usr/bin/env node\n")
    (package / "package.json").write_text('{"name": "@openai/codex", "version": "0.171.0"}')
    platform = package / "node_modules" / "@openai" if nested else package.parent
    _write(platform / "codex-linux-x64" / "vendor" / "x86_64-unknown-linux-musl" / "bin" / "codex", _PROGRAM)
    link = folder / "bin" / "codex"
    link.parent.mkdir()
    link.symlink_to(script)
    return link


def test_npms_script_leads_to_the_program_of_the_platform(tmp_path: Path) -> None:
    for nested in (False, True):
        link = _npm(tmp_path / str(nested), nested=nested)
        found = codex_at(link)
        assert found is not None
        assert found.program.read_bytes() == _PROGRAM
        assert (found.command, found.version) == (link, "0.171.0")
        assert found.folder.name == "bin"


def test_a_program_of_its_own_is_taken_as_it_is(tmp_path: Path) -> None:
    program = _write(tmp_path / "codex", _PROGRAM)
    found = find_codex({"PATH": str(tmp_path)})
    assert found is not None
    assert (found.program, found.version) == (program, "")


def test_a_script_without_a_program_behind_it_is_none(tmp_path: Path) -> None:
    _write(tmp_path / "codex", b"#!/bin/sh\necho no\n")
    assert find_codex({"PATH": str(tmp_path)}) is None
    assert find_codex({"PATH": str(tmp_path / "empty")}) is None


def test_a_version_is_read_from_what_a_program_says() -> None:
    assert version_of("codexteam/0.171.0 (Debian 12; x86_64)") == "0.171.0"
    assert version_of("codex-cli 0.172.0-alpha.3") == "0.172.0-alpha.3"
    assert version_of("codex") == ""
    assert [is_new_enough(version) for version in ("0.168.3", "0.169.0", "0.171.1", "1.0.0", "")] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert [is_untried(version) for version in ("0.169.0", "0.171.9", "0.172.0-alpha.3", "1.0.0", "")] == [
        False,
        False,
        True,
        True,
        False,
    ]
