"""What is drained, as two processes see it."""

from pathlib import Path

from codexteam.adapters.machine.drained_hosts import DrainedHosts


def test_what_one_process_drains_another_sees(tmp_path: Path) -> None:
    state = tmp_path / "state"
    mine, others = DrainedHosts(state), DrainedHosts(state)
    assert others.names() == frozenset()
    assert mine.drain("a")
    assert not mine.drain("a")
    assert others.names() == {"a"}
    assert others.drain("b b")
    assert mine.names() == {"a", "b b"}
    assert mine.undrain("a")
    assert not mine.undrain("a")
    assert others.names() == {"b b"}
    assert state.stat().st_mode & 0o777 == 0o700
