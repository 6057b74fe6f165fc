"""What is said of paths from a repository's root holds of each folder of a run in several."""

from fnmatch import fnmatchcase
from pathlib import Path

from codexteam.adapters.git.composite import Member
from codexteam.adapters.git.location import Places
from codexteam.app.several import settings_for
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.ids import CommitId, JSONValue


def test_what_scans_leave_out_is_left_out_in_each_repository(tmp_path: Path) -> None:
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    flags: dict[str, JSONValue] = {"codexteam.gates.scan.exclude": ["vendor/*", "**/gen/*"]}
    settings = load_settings(LoadRequest(tmp_path, environment, flags=flags, system_folder=tmp_path / "none"))
    assert settings_for(settings, ()) is settings

    places = Places(tmp_path, tmp_path, tmp_path, tmp_path, bare=False, object_format="sha1", excludes_file=None)
    members = [Member(name, places, CommitId("0" * 40)) for name in ("api", "web")]
    exclude = settings_for(settings, members).team.gates.scan.exclude

    for path in ("api/vendor/a.js", "web/vendor/lib/b.js", "api/gen/c.js"):
        assert any(fnmatchcase(path, glob) for glob in exclude)
    assert not any(fnmatchcase("api/src/vendor/a.js", glob) for glob in exclude)
