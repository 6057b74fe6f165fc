"""Putting files in place: all or none, never over a user's file unasked."""

from pathlib import Path

import pytest

from codexteam.config.installing import Action, install
from codexteam.config.starter import StarterFile
from codexteam.errors import ConfigError

FILES = (
    StarterFile("config.toml", 'model = "a"\n', replaceable=False),
    StarterFile("agents/one.toml", "one\n"),
    StarterFile("agents/two.toml", "two\n"),
)


def actions(folder: Path, *, force: bool = False) -> list[Action]:
    return [file.action for file in install(FILES, folder, force=force)]


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files_and_folders_are_made(tmp_path: Path) -> None:
    assert actions(tmp_path / "a" / "home") == [Action.WROTE] * 3

    assert tree(tmp_path / "a" / "home") == {file.name: file.text for file in FILES}
    assert (tmp_path / "a" / "home").stat().st_mode & 0o777 == 0o700


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    actions(tmp_path)
    before = tree(tmp_path)

    assert actions(tmp_path) == [Action.UNCHANGED] * 3
    assert actions(tmp_path, force=True) == [Action.UNCHANGED] * 3
    assert tree(tmp_path) == before


def test_a_file_that_differs_is_kept_unless_forced(tmp_path: Path) -> None:
    actions(tmp_path)
    (tmp_path / "agents/one.toml").write_text("mine\n")

    assert actions(tmp_path) == [Action.UNCHANGED, Action.KEPT, Action.UNCHANGED]
    assert (tmp_path / "agents/one.toml").read_text() == "mine\n"


def test_a_forced_replacement_keeps_every_backup_and_the_mode(tmp_path: Path) -> None:
    actions(tmp_path)
    mine = tmp_path / "agents/one.toml"
    for text in ("first\n", "second\n", "third\n"):
        mine.write_text(text)
        mine.chmod(0o600)
        assert actions(tmp_path, force=True)[1] is Action.REPLACED

    assert mine.read_text() == "one\n"
    assert mine.stat().st_mode & 0o777 == 0o600
    backups = {name: text for name, text in tree(tmp_path).items() if ".bak" in name}
    assert backups == {
        "agents/one.toml.bak": "first\n",
        "agents/one.toml.bak2": "second\n",
        "agents/one.toml.bak3": "third\n",
    }


def test_codex_s_own_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("mine\n")

    assert actions(tmp_path, force=True) == [Action.KEPT, Action.WROTE, Action.WROTE]
    assert (tmp_path / "config.toml").read_text() == "mine\n"


def test_a_folder_in_the_way_stops_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "agents/two.toml").mkdir(parents=True)

    with pytest.raises(ConfigError, match=r"two\.toml is not a regular file"):
        install(FILES, tmp_path)

    assert tree(tmp_path) == {}


def test_a_home_that_cannot_be_written_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file where a folder should be\n")

    with pytest.raises(ConfigError, match="nothing was changed") as caught:
        install(FILES, tmp_path)

    assert "CODEX_HOME" in caught.value.hint
    assert tree(tmp_path) == {"agents": "a file where a folder should be\n"}


def test_a_failure_halfway_puts_back_what_was_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    actions(home)
    (home / "agents/one.toml").write_text("mine\n")
    # the last name is too long for the temporary file beside it
    long_name = "x" * 250
    files = (*FILES[:2], StarterFile("new.toml", "new\n"), StarterFile(long_name, "new\n"))
    before = tree(home)

    with pytest.raises(ConfigError, match="nothing was changed"):
        install(files, home, force=True)

    assert tree(home) == before


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    home, dotfiles = tmp_path / "home", tmp_path / "dotfiles"
    actions(home)
    dotfiles.mkdir()
    (dotfiles / "one.toml").write_text("mine\n")
    (home / "agents/one.toml").unlink()
    (home / "agents/one.toml").symlink_to(dotfiles / "one.toml")

    actions(home, force=True)

    assert (home / "agents/one.toml").is_symlink()
    assert (dotfiles / "one.toml").read_text() == "one\n"
    assert (dotfiles / "one.toml.bak").read_text() == "mine\n"


def test_a_project_s_link_leads_nothing_out_of_the_project(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / ".codex").symlink_to(elsewhere)

    with pytest.raises(ConfigError, match="a link leads out of"):
        install(FILES, project / ".codex", within=project)

    assert tree(elsewhere) == {}


def test_links_in_a_circle_are_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "agents").symlink_to(tmp_path / "agents")

    with pytest.raises(ConfigError):
        install(FILES, tmp_path)
