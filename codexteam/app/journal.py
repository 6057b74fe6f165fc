"""Who follows a run's journal in its own process: `events.jsonl`, views and programs; each gets every fact once, in order."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from codexteam.adapters.store.journal import EventsFile
from codexteam.app.project import Project, events_path, killed_calls
from codexteam.errors import CodexteamError, StoreError, mark_reported
from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.ports.store import RunRecord, Store


class JournalFollowers:
    """Passes on facts as they are stored. The file is made good at the next command where it could not be written."""

    def __init__(self, file: EventsFile, reporters: Sequence[Reporter], note: Callable[[str], object]) -> None:
        """Pass facts on to a file and to reporters, which their owner closes; `note` says a line to a person."""
        self._file: EventsFile | None = file
        self._reporters = [*reporters]
        self._note = note
        self._failure: Exception | None = None

    def take(self, facts: Sequence[RunEvent]) -> None:
        """Pass stored facts on; a reporter that fails gets no more, and the run continues."""
        self._write(facts)
        for reporter in [*self._reporters]:
            try:
                for fact in facts:
                    reporter.report(fact)
            except Exception as error:  # noqa: BLE001 - raised when the session ends
                self._reporters.remove(reporter)
                self._failure = self._failure or error
                self._note(f"what shows the run has failed: {error}; the run continues, codexteam logs -f shows it")

    def raise_failure(self) -> None:
        """Raise what the first reporter that failed raised."""
        if self._failure is not None:
            raise self._failure

    def _write(self, facts: Sequence[RunEvent]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(facts)
        except StoreError as error:
            self._file = None
            self._note(f"{error}; codexteam events has all of it, and the next command writes it")


async def tell_broken_off(
    error: Exception,
    words: tuple[str, str],
    *,
    at_seconds: float,
    run: RunRecord,
    store: Store,
    programs: Sequence[Reporter],
) -> None:
    """Write down that a session broke off; `words` are the error's, and what to do about it, secrets taken out.

    Programs hear of it even if the store, which the error may be about, does not take it. People are told at the
    command's end.
    """
    code = error.exit_code if isinstance(error, CodexteamError) else 1
    reason, hint = words
    fact = RunEvent("run.broken_off", at_seconds, {"reason": reason, "hint": hint, "exit_code": code})
    told: list[RunEvent] = []
    unwatch = store.watch(run.run_id, told.extend)
    try:
        store.record_facts(run.run_id, [fact])
        await store.facts_recorded()
    except StoreError:
        for each in programs:
            with suppress(OSError):
                each.report(fact)
                told.append(fact)
    finally:
        unwatch()
    if programs and any(one.kind == fact.kind for one in told):
        mark_reported(error)


async def write_events_file(project: Project, store: Store, run: RunRecord) -> None:
    """Bring a run's `events.jsonl` up to date. The caller holds the lock.

    Raises:
        StoreError: the file cannot be written.
    """
    facts = await store.facts(run.run_id)
    file = EventsFile(events_path(project, run.run_id), run.run_id, newest=facts[-1].sequence if facts else 0)
    try:
        file.write(facts)
    finally:
        file.close()


async def tell_killed_calls(store: Store, run: RunRecord, *, at_seconds: float) -> None:
    """Write down what calls count for that were on their way when the last session was killed, once."""
    told = {
        (fact.fields.get("agent"), fact.fields.get("turn"), fact.fields.get("call")): fact.fields.get("counted")
        for fact in await store.facts(run.run_id)
        if fact.kind == "agent.unanswered"
    }
    killed = await killed_calls(store, run, at_seconds=at_seconds)
    new = [
        fact
        for fact in killed
        if told.get((fact.fields["agent"], fact.fields["turn"], fact.fields["call"])) != fact.fields["counted"]
    ]
    if new:
        store.record_facts(run.run_id, new)
        await store.facts_recorded()
