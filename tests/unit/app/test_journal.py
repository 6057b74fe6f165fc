"""Who follows a run's journal: each gets every fact once, and one that fails takes nothing from the others."""

import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.adapters.store.journal import EventsFile, read_events
from codexteam.app.journal import JournalFollowers, tell_broken_off
from codexteam.core.ids import RunId
from codexteam.errors import StoreError, is_reported
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord
from tests.fakes.memory_store import MemoryStore

RUN = RunRecord(RunId("20261121-0231-7f3a"), "goal", "base", "running", 1.0, {})


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


class FullStore(MemoryStore):
    """Takes no facts."""

    def record_facts(self, run_id: RunId, facts: Sequence[RunEvent]) -> None: ...

    async def facts_recorded(self) -> None:
        raise StoreError("database or disk is full")


@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
async def test_programs_hear_of_an_error_also_when_the_store_takes_no_more(full: bool) -> None:
    store, programs, error = FullStore() if full else MemoryStore(), Lines(), StoreError("no room")

    def show(facts: Sequence[RunEvent]) -> None:
        for fact in facts:
            programs.report(fact)

    store.watch(RUN.run_id, show)

    await tell_broken_off(error, ("no room", "make some"), at_seconds=7.0, run=RUN, store=store, programs=[programs])

    told = [(event.kind, event.at_seconds, event.fields) for event in programs.events]
    assert told == [("run.broken_off", 7.0, {"reason": "no room", "hint": "make some", "exit_code": 6})]
    assert [fact.kind for fact in await store.facts(RUN.run_id)] == ([] if full else ["run.broken_off"])
    assert is_reported(error)


async def test_an_error_that_programs_could_not_be_told_of_is_not_noted_as_told() -> None:
    error = ValueError("a bug")
    await tell_broken_off(error, ("a bug", ""), at_seconds=7.0, run=RUN, store=FullStore(), programs=[Lines(full=True)])
    assert not is_reported(error)


def test_a_view_that_fails_gets_no_more_and_the_others_get_all(tmp_path: Path) -> None:
    path, said = tmp_path / "events.jsonl", list[str]()
    broken, whole = Lines(full=True), Lines()
    file = EventsFile(path, "run1", newest=0)
    followers = JournalFollowers(file, (broken, whole), said.append)
    facts = [RunEvent("run.started", 1.0, {}, 1), RunEvent("run.finished", 2.0, {}, 2)]
    for fact in facts:
        followers.take([fact])
    file.close()

    assert whole.events == facts
    assert list(read_events(path)) == facts
    assert len(said) == 1
    assert "No space left on device" in said[0]
    with pytest.raises(OSError, match="No space"):
        followers.raise_failure()


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file of this process grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_run_outlives_a_file_of_events_that_takes_no_more(tmp_path: Path) -> None:
    said, view = list[str](), Lines()
    file = EventsFile(tmp_path / "events.jsonl", "run1", newest=0)
    followers = JournalFollowers(file, (view,), said.append)
    facts = [RunEvent("run.started", 1.0, {}, 1), RunEvent("run.finished", 2.0, {}, 2)]
    with no_room():
        for fact in facts:
            followers.take([fact])
    file.close()

    assert view.events == facts
    assert len(said) == 1
    assert "codexteam events has all of it" in said[0]
    followers.raise_failure()
