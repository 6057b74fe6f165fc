"""The user's own folders on a real file system."""

from pathlib import Path

from codexteam.adapters.machine.folder_files import FolderFiles


async def test_files_are_found_at_any_depth_through_links_and_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "skills" / "a" / "deep").mkdir(parents=True)
    (home / "skills" / "a" / "SKILL.md").write_text("a")
    (home / "skills" / "a" / "deep" / "x.md").write_text("x")
    (home / "skills" / "a" / "loop").symlink_to(home / "skills")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "SKILL.md").write_text("b")
    (home / "skills" / "b").symlink_to(elsewhere)
    (home / "skills" / "bad\nname").write_text("x")
    files = FolderFiles(home)
    assert await files.paths("skills") == ["skills/a/SKILL.md", "skills/a/deep/x.md", "skills/b/SKILL.md"]
    assert await files.paths("nowhere") == []
    assert files.root == str(home)


async def test_only_regular_files_of_a_sensible_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(5 << 20)
    files = FolderFiles(tmp_path)
    assert await files.read("a.md") == b"a"
    for path in ("folder", "huge", "missing", "nul\0"):
        assert await files.read(path) is None
