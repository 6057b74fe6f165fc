"""Files that git does not give: ignored files asked for, LFS, submodules."""

import hashlib
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from codexteam.adapters.git.untracked import CopyRules
from codexteam.errors import RepoError
from codexteam.ports.repo import Accepted, IntakeRefused
from tests.support_git import FREE, RUN, Desk, git, make_user, open_desk


async def _extras(desk: Desk) -> dict[str, bytes]:
    source = await desk.repo.base_source(RUN, desk.base)
    if source.extra_files is None:
        return {}
    found: dict[str, bytes] = {}
    with tarfile.open(source.extra_files, errors="surrogateescape") as tar:
        for member in tar.getmembers():
            assert member.isreg()
            assert not member.name.startswith(("/", ".."))
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


@pytest.fixture
def user(tmp_path: Path) -> Path:
    root = tmp_path / "user"
    make_user(root, {".gitignore": b".env*\nbuild/\n*.log\n", "a.txt": b"one\n"})
    return root


async def test_nothing_ignored_or_untracked_is_taken_unasked(user: Path, tmp_path: Path) -> None:
    (user / ".env").write_text("SECRET=1\n")
    (user / "untracked.txt").write_text("x\n")
    desk = await open_desk(user, tmp_path)
    assert await _extras(desk) == {}
    await desk.repo.close()


async def test_ignored_files_that_are_asked_for_are_taken(user: Path, tmp_path: Path) -> None:
    (user / ".env").write_text("A=1\n")
    (user / ".env.local").write_text("B=2\n")
    (user / "build/deep").mkdir(parents=True)
    (user / "build/deep/x.bin").write_bytes(b"\0\1")
    (user / "build/y.txt").write_text("y")
    (user / "other.log").write_text("log")
    (user / "untracked.txt").write_text("x\n")
    (user / ".worktreeinclude").write_text("# comment\n.env\nuntracked.txt\n")
    (user / os.fsdecode(b"not-\xff.log")).write_text("odd")
    desk = await open_desk(user, tmp_path, copied=CopyRules(("build/deep/", "not-*.log"), trusted=True))
    assert await _extras(desk) == {
        ".env": b"A=1\n",
        "build/deep/x.bin": b"\0\1",
        os.fsdecode(b"not-\xff.log"): b"odd",
    }
    await desk.repo.close()


async def test_a_repository_that_is_not_trusted_names_no_files_of_its_users(user: Path, tmp_path: Path) -> None:
    (user / ".env").write_text("A=1\n")
    (user / "mine.log").write_text("log")
    (user / ".worktreeinclude").write_text(".env\n")
    desk = await open_desk(user, tmp_path, copied=CopyRules(("mine.log",)))
    assert await _extras(desk) == {"mine.log": b"log"}  # what the user's own settings name
    assert await desk.repo.copied_files() == [b"mine.log"]
    await desk.repo.close()


async def test_trust_that_is_taken_back_counts_for_a_run_that_goes_on(user: Path, tmp_path: Path) -> None:
    (user / ".env").write_text("A=1\n")
    (user / ".worktreeinclude").write_text(".env\n")
    desk = await open_desk(user, tmp_path, copied=CopyRules(trusted=True))
    assert await _extras(desk) == {".env": b"A=1\n"}
    assert await desk.repo.copied_files() == [b".env"]
    await desk.repo.close()
    desk = await open_desk(user, tmp_path)
    assert await _extras(desk) == {}
    await desk.repo.close()


async def test_a_byte_order_mark_before_the_first_pattern_is_no_part_of_it(user: Path, tmp_path: Path) -> None:
    (user / ".env").write_text("A=1\n")
    (user / ".worktreeinclude").write_bytes(b"\xef\xbb\xbf.env\n")
    desk = await open_desk(user, tmp_path, copied=CopyRules(("no-such-file",), trusted=True))
    assert await _extras(desk) == {".env": b"A=1\n"}
    await desk.repo.close()


async def test_links_and_other_kinds_among_ignored_files_are_not_followed(user: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("private")
    (tmp_path / "outside-folder").mkdir()
    (tmp_path / "outside-folder/x.log").write_text("private")
    (user / "a.log").symlink_to(tmp_path / "outside")
    (user / "build").symlink_to(tmp_path / "outside-folder")
    os.mkfifo(user / "fifo.log")
    (user / "real.log").write_text("real")
    desk = await open_desk(user, tmp_path, copied=CopyRules(("*.log", "build/")))
    assert await _extras(desk) == {"real.log": b"real"}
    await desk.repo.close()


def _pointer(data: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
        hashlib.sha256(data).hexdigest().encode(), len(data),
    )  # fmt: skip


@pytest.fixture
def with_lfs(tmp_path: Path) -> Path:
    root = tmp_path / "user"
    present, absent, forged = b"P" * 5000, b"A" * 5000, b"F" * 5000
    make_user(
        root,
        {
            ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.txt": b"one\n",
            "present.bin": _pointer(present),
            "absent.bin": _pointer(absent),
            "forged.bin": _pointer(forged),
        },
    )
    for data, content in ((present, present), (forged, b"X" * 5000)):
        name = hashlib.sha256(data).hexdigest()
        stored = root / ".git/lfs/objects" / name[:2] / name[2:4] / name
        stored.parent.mkdir(parents=True)
        stored.write_bytes(content)
    return root


async def test_lfs_files_are_taken_as_far_as_they_are_here(with_lfs: Path, tmp_path: Path) -> None:
    desk = await open_desk(with_lfs, tmp_path)
    assert any("LFS" in notice for notice in (await desk.repo.inspect()).notices)
    assert await _extras(desk) == {"present.bin": b"P" * 5000}
    await desk.repo.close()


async def test_lfs_content_that_a_snapshot_shows_goes_back_to_its_pointer(with_lfs: Path, tmp_path: Path) -> None:
    desk = await open_desk(with_lfs, tmp_path)
    intake = await desk.take({b"present.bin": b"P" * 5000, b"a.txt": b"changed\n"})
    assert isinstance(intake, Accepted)
    assert [change.path for change in intake.changes] == [b"a.txt"]
    only_noise = await desk.take({b"present.bin": b"P" * 5000})
    assert isinstance(only_noise, Accepted)
    assert only_noise.tree == await desk.repo.tree_of(desk.base)
    changed = await desk.take({b"present.bin": b"Q" * 5000})
    assert isinstance(changed, IntakeRefused)
    assert "Git LFS" in changed.violations[0].message
    await desk.repo.close()


async def test_submodules_inside_submodules_are_taken(tmp_path: Path) -> None:
    for name in ("inner", "middle", "user"):
        make_user(tmp_path / name, {"a.txt": name.encode()})
    local = ("-c", "protocol.file.allow=always")
    for outer, below in (("middle", "inner"), ("user", "middle")):
        git(tmp_path / outer, *local, "submodule", "--quiet", "add", str(tmp_path / below), "sub")
        git(tmp_path / outer, "commit", "-qm", "submodule")
    git(tmp_path / "user", *local, "submodule", "--quiet", "update", "--init", "--recursive")
    (tmp_path / "user/sub/a.txt").write_text("dirty, so not taken")
    desk = await open_desk(tmp_path / "user", tmp_path)
    assert await _extras(desk) == {"sub/.gitmodules": (tmp_path / "middle/.gitmodules").read_bytes()} | {
        "sub/a.txt": b"middle",
        "sub/sub/a.txt": b"inner",
    }
    refused = await desk.repo.intake(desk.snapshot({b"a.txt": b"x\n"}), FREE)
    assert isinstance(refused, Accepted), "a submodule that stays as it is is not a change"
    await desk.repo.close()


async def test_a_flood_of_ignored_files_is_one_error(user: Path, tmp_path: Path) -> None:
    (user / "huge.log").touch()
    os.truncate(user / "huge.log", 3 << 30)
    desk = await open_desk(user, tmp_path, copied=CopyRules(("*.log",)))
    with pytest.raises(RepoError, match="too many or too large"):
        await desk.repo.base_source(RUN, desk.base)
    await desk.repo.close()


async def test_the_base_archive_holds_a_git_folder_alone(desk: Desk, tmp_path: Path) -> None:
    source = await desk.repo.base_source(RUN, desk.base)
    with tarfile.open(source.root_archive) as tar:
        names = tar.getnames()
    assert all(name == ".git" or name.startswith(".git/") for name in names)
    assert not [name for name in names if "hooks" in name or "logs" in name]
    assert len([name for name in names if name.endswith(".pack")]) == 1
    work = tmp_path / "work"
    work.mkdir()
    shutil.unpack_archive(source.root_archive, work, "tar", filter="data")
    assert git(work, "remote") == b""
    assert git(work, "symbolic-ref", "-q", "HEAD", check=False) == b"", "detached"


async def test_a_delta_brings_a_workspace_to_a_later_commit(desk: Desk, tmp_path: Path) -> None:
    new = await desk.taken({b"a.txt": b"later\n", b"more/c.txt": b"c\n"})
    source = await desk.repo.base_source(RUN, new)
    assert source.delta_pack is not None
    work = tmp_path / "work"
    work.mkdir()
    shutil.unpack_archive(source.root_archive, work, "tar", filter="data")
    git(work, "index-pack", "--stdin", "--fix-thin", data=source.delta_pack.read_bytes())
    git(work, "checkout", "-q", "--detach", new)
    assert (work / "a.txt").read_text() == "later\n"
    assert (work / "more/c.txt").read_text() == "c\n"
    git(work, "fsck", "--strict")
