"""The environment is a snapshot."""

import pytest

from codexteam.config.request import read_environment


def test_the_environment_is_read_once_and_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEXTEAM_SAMPLE", "before")
    environment = read_environment()
    monkeypatch.setenv("CODEXTEAM_SAMPLE", "after")
    assert environment["CODEXTEAM_SAMPLE"] == "before"
    with pytest.raises(TypeError):
        environment["CODEXTEAM_SAMPLE"] = "x"  # type: ignore[index]  # that is the point
