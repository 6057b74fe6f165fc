"""A sitting that ends with an error: whoever reads along hears of it, whatever the error is about."""

import pytest

from codexteam.app.breaking_off import tell_broken_off
from codexteam.errors import StoreError, is_told
from codexteam.ports.reporter import RunEvent


class Lines:
    """Keeps what is reported, or has no room for it."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.events: list[RunEvent] = []

    def report(self, event: RunEvent) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.events.append(event)

    def close(self) -> None: ...


@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
def test_programs_hear_of_an_error_also_when_the_history_takes_no_more(full: bool) -> None:
    history, programs, error = Lines(full=full), Lines(), StoreError("no room")

    tell_broken_off(error, "no room", at_seconds=7.0, history=history, programs=[programs])

    told = RunEvent("run.broken_off", 7.0, {"reason": "no room", "exit_code": 6})
    assert programs.events == [told]
    assert history.events == ([] if full else [told])
    assert is_told(error)


def test_an_error_that_programs_could_not_be_told_of_is_not_noted_as_told() -> None:
    error = ValueError("a bug")
    tell_broken_off(error, "a bug", at_seconds=7.0, history=Lines(), programs=[Lines(full=True)])
    assert not is_told(error)
