"""Agents of no task that end without an answer, among fakes: what they wrote is kept, and found again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.adapters.run_files import DiskRunFiles
from codexteam.agent.assignment import Assignment, Handed, NoAnswer, Report
from codexteam.agent.office import Office
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.effects import Document, RunGate
from codexteam.core.events import Documented, GateFinished, Verdict
from codexteam.core.findings import GateName
from codexteam.core.ids import CommitId, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.state import GateRecord, Rules, RunState
from codexteam.driver import finishing
from codexteam.gates import qa
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_crew import ScriptedCrew

RUN = RunId("20261121-0231-7f3a")
TIMED_OUT = "no answer after 30 minutes"
SHIP: JSONObject = {"verdict": "ship", "summary": "It works.", "findings": [], "risks": []}


@dataclass
class TimedCrew(ScriptedCrew):
    """One whose agents run out of time in the turn in which they write, as often as `late` says."""

    late: int = 1
    found: list[list[str]] = field(default_factory=list)

    async def assign(self, assignment: Assignment) -> Report:
        report = await super().assign(assignment)
        self.late -= 1
        if self.late < 0 or not isinstance(report, Handed):
            return report
        return NoAnswer(TIMED_OUT, snapshot=report.snapshot)


@pytest.fixture
async def make_office(tmp_path: Path) -> Callable[[dict[str, bytes]], Office]:
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings = load_settings(LoadRequest(tmp_path, environment, system_folder=tmp_path / "none"))
    repo = FakeRepo(tmp_path / "repo", {"a.py": b"a = 1\n"})
    await repo.fetch_base(RUN, repo.head)
    engine = FakeEngine()

    def make(writes: dict[str, bytes]) -> Office:
        async def act(_assignment: Assignment, sandbox: object) -> JSONObject:
            box = engine.started[-1]
            assert box is sandbox
            crew.found.append(sorted(box.files))
            for path, data in writes.items():
                await box.write_file(path, data)
            return SHIP

        crew = TimedCrew(engine, repo, RUN, tmp_path, act)
        files = DiskRunFiles(tmp_path, RUN, plan_root=tmp_path, redact=str)
        return Office(RUN, settings, crew, repo, MemoryStore(), engine, FakeClock(), files, lambda _kind, _fields: None)

    return make


def base_of(office: Office) -> CommitId:
    assert isinstance(office.repo, FakeRepo)
    return office.repo.head


def crew_of(office: Office) -> TimedCrew:
    assert isinstance(office.crew, TimedCrew)
    return office.crew


def kept(office: Office) -> dict[str, bytes]:
    """Give what was kept, by its name."""
    assert isinstance(office.repo, FakeRepo)
    return {name: snapshot.pack.read_bytes() for (_, name), snapshot in office.repo.kept.items()}


def state_of(office: Office) -> RunState:
    return RunState(RUN, "goal", Rules(), base=base_of(office), tip=base_of(office))


async def test_what_a_documentation_writer_wrote_when_its_time_ran_out_is_kept_and_told(
    make_office: Callable[[dict[str, bytes]], Office],
) -> None:
    office = make_office({"README.md": b"How to use it.\n"})

    event = await finishing.document(office, Document(base_of(office)), state_of(office))

    words = f"{TIMED_OUT}; what it wrote until then is kept: codexteam salvage lists it as document.1"
    assert event == Documented(None, words)
    assert b"How to use it.\n".hex().encode() in kept(office)["document.1"]


async def ask_qa(office: Office, number: int, state: RunState, commit: CommitId | None = None) -> GateFinished:
    commit = commit or base_of(office)
    return await qa.run(office, RunGate(number, GateName.QA, commit, base_of(office), ()), state)


async def test_tests_that_qa_wrote_without_a_verdict_are_kept_and_its_next_round_goes_on_from_them(
    make_office: Callable[[dict[str, bytes]], Office],
) -> None:
    office = make_office({"tests/test_a.py": b"def test_a(): ...\n"})
    state = state_of(office)

    first = await ask_qa(office, 1, state)

    assert first.verdict is Verdict.UNANSWERED
    assert first.note == f"{TIMED_OUT}; what it wrote until then is kept: codexteam salvage lists it as qa.1"
    assert list(kept(office)) == ["qa.1"]

    record = GateRecord(first.commit, first.verdict, unanswered=1)
    second = await ask_qa(office, 2, replace(state, gates={GateName.QA: record}))

    assert crew_of(office).found == [["a.py"], ["a.py", "tests/test_a.py"]]
    assert "go on from it" in crew_of(office).assigned[1].prompt
    assert (second.verdict, second.tests_commit is not None) == (Verdict.SHIP, True)


async def test_qa_begins_anew_on_another_commit_and_after_a_verdict(
    make_office: Callable[[dict[str, bytes]], Office],
) -> None:
    office = make_office({"tests/test_a.py": b"def test_a(): ...\n"})
    state = state_of(office)
    silent = await ask_qa(office, 1, state)
    newer = await office.repo.commit(
        await office.repo.tree_of(base_of(office)), (base_of(office),), "newer", await office.author("x", "y")
    )

    unanswered = replace(state, gates={GateName.QA: GateRecord(silent.commit, Verdict.UNANSWERED, unanswered=1)})
    await ask_qa(office, 2, unanswered, newer)
    await ask_qa(office, 2, replace(state, gates={GateName.QA: GateRecord(silent.commit, Verdict.SHIP)}))

    assert crew_of(office).found == [["a.py"]] * 3
    assert all("go on from it" not in assigned.prompt for assigned in crew_of(office).assigned)


async def test_an_agent_that_wrote_nothing_leaves_nothing(make_office: Callable[[dict[str, bytes]], Office]) -> None:
    office = make_office({})

    event = await finishing.document(office, Document(base_of(office)), state_of(office))

    assert event == Documented(None, TIMED_OUT)
    assert not kept(office)
