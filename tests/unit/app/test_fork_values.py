"""What a new run knows of the attempts of the run that it was made of."""

from codexteam.app.forks import known_of_attempts
from codexteam.core.codec import encode_object
from codexteam.core.ids import RunId
from codexteam.core.redaction import Redactor
from codexteam.core.work_size import WorkSize
from codexteam.run.notes import NoteBoard
from tests.fakes.memory_store import MemoryStore

OLD, NEW = RunId("20261121-0231-7f3a"), RunId("20261121-0300-1b2c")


async def test_sizes_and_notes_of_ended_attempts_come_along() -> None:
    store = MemoryStore()
    board = NoteBoard(store, OLD, Redactor())
    for by in ("T2.1", "T1.1", "T1.2"):
        await store.put(f"{OLD}/sizes", by, encode_object(WorkSize(3, 2)))
        assert not await board.leave(by, "warning", f"{by} says so")

    async for value in known_of_attempts(store, OLD, NEW, {"T1.1", "T1.2"}):
        await store.put(*value)

    assert [key for key, _ in await store.list(f"{NEW}/sizes")] == ["T1.1", "T1.2"]
    notes = NoteBoard(store, NEW, Redactor())
    assert [note.by for note in await notes.notes()] == ["T1.1", "T1.2"]
    assert not await notes.leave("T3.1", "warning", "one more")
    assert [note.text for note in await NoteBoard(store, NEW, Redactor()).notes()] == [
        "T1.1 says so",
        "T1.2 says so",
        "one more",
    ]
