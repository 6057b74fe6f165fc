"""The gate `scan` with the real scanners, on commits of a repository in memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.adapters.scan.programs import find_programs
from codexteam.adapters.scan.source_scanner import SourceScanner
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import ScanSettings
from codexteam.core.answers import RoleAnswer
from codexteam.core.effects import RunGate
from codexteam.core.events import GateFinished, Verdict
from codexteam.core.findings import Category, Severity
from codexteam.core.ids import CommitId, GateName, JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.ports.repo import Identity
from codexteam.run.assignment import Assignment
from codexteam.run.context import RunContext
from codexteam.run.gates import review, scan
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_agents import ScriptedAgents

RUN = RunId("20261121-0231-7f3a")
WHO = Identity("somebody", "somebody@example.org", 1_700_000_000)
OLD = "import os\n\n\ndef old(name):\n    os.system(f'ls {name}')\n"
SHELL = "import os\n\n\ndef show(name):\n    os.system(f'cat {name}')\n"
RULES = Rules(gates=tuple(GateName))


@pytest.fixture
async def context(tmp_path: Path) -> RunContext:
    settings = load_settings(
        LoadRequest(tmp_path, {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}, system_folder=tmp_path / "none")
    )
    repo = FakeRepo(tmp_path / "repo", {"old.py": OLD.encode(), "README.md": b"Read.\n"})
    await repo.fetch_base(RUN, repo.head)
    programs = find_programs()
    assert programs is not None
    engine = FakeEngine()

    async def act(assignment: Assignment[RoleAnswer], sandbox: object) -> JSONObject:
        return {"verdict": "ship", "summary": "Read.", "findings": [], "risks": []}

    made = RunContext(
        RUN,
        repo.head,
        settings,
        repo,
        MemoryStore(),
        engine,
        FakeClock(),
        DiskRunFiles(tmp_path, RUN, plan_root=tmp_path, redact=str),
        lambda _kind, _fields: None,
        scanner=SourceScanner(programs, tmp_path / "scan"),
    )
    made.agents = ScriptedAgents(engine, repo, RUN, tmp_path, act)
    return made


async def scan_of(context: RunContext, **files: str) -> GateFinished:
    commit = await changed(context, **files)
    return await scan.run(context, RunGate(1, GateName.SCAN, commit, context.base, ()), state_at(context, commit))


async def changed(context: RunContext, **files: str) -> CommitId:
    assert isinstance(context.repo, FakeRepo)
    context.repo.uncommitted = {
        "old.py": OLD.encode(),
        **{name.replace("__", "."): text.encode() for name, text in files.items()},
    }
    return await context.repo.commit_work_tree(context.base, "a change", WHO)


def state_at(context: RunContext, commit: CommitId) -> RunState:
    return RunState(RUN, "goal", RULES, base=context.base, tip=commit)


def settings_with(context: RunContext, settings: ScanSettings) -> None:
    team = context.settings.team
    context.settings = replace(context.settings, team=replace(team, gates=replace(team.gates, scan=settings)))


async def test_a_weakness_that_a_change_brings_blocks(context: RunContext) -> None:
    finished = await scan_of(context, new__py=SHELL)
    [found] = finished.findings
    assert finished.verdict is Verdict.BLOCK
    assert (found.file, found.line, found.severity, found.category) == (
        "new.py",
        5,
        Severity.MUST_FIX,
        Category.SECURITY,
    )
    assert found.title == "a shell command is built from values: `os.system(f'cat {name}')`"
    assert finished.note.startswith("1 changed file scanned by ruff ")


async def test_what_the_base_has_is_not_reported(context: RunContext) -> None:
    more = f"{OLD}\n\ndef more():\n    return 1\n"
    assert (await scan_of(context, old__py=more)).verdict is Verdict.SHIP
    moved = await scan_of(context, old__py="", moved__py=OLD)
    assert moved.findings == ()


async def test_a_fix_is_seen_in_the_next_scan(context: RunContext) -> None:
    assert (await scan_of(context, new__py=SHELL)).verdict is Verdict.BLOCK
    assert (await scan_of(context, new__py=SHELL.replace("system(f'cat {name}')", "stat(name)"))).findings == ()


async def test_nothing_to_scan_ships(context: RunContext) -> None:
    finished = await scan_of(context, notes__md="os.system(f'{x}')\n")
    assert (finished.verdict, finished.note) == (Verdict.SHIP, "no file to scan changed")


async def test_a_file_that_is_too_long_is_named(context: RunContext) -> None:
    finished = await scan_of(context, big__py="x = 1\n" * 200_000)
    assert finished.risks == ("not scanned: big.py (longer than 1,048,576 bytes, or one of too many)",)


async def test_rules_and_files_can_be_left_out(context: RunContext) -> None:
    settings_with(context, ScanSettings(ignore=("*-shell-injection", "S605")))
    assert (await scan_of(context, new__py=SHELL)).findings == ()
    settings_with(context, ScanSettings(exclude=("vendor*",)))
    assert (await scan_of(context, vendor__py=SHELL)).findings == ()


def sarif(path: str, line: int, level: str = "error") -> str:
    place = {"artifactLocation": {"uri": path}, "region": {"startLine": line}}
    result = {
        "ruleId": "leak",
        "level": level,
        "message": {"text": "a key"},
        "locations": [{"physicalLocation": place}],
    }
    return json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "leaks"}}, "results": [result]}]})


async def test_a_command_that_prints_sarif_counts_for_changed_lines(context: RunContext) -> None:
    settings_with(context, ScanSettings(commands=("leaks --sarif",)))
    engine = context.engine
    assert isinstance(engine, FakeEngine)
    outputs = iter([sarif("old.py", 1), "leaks found: 1\n" + sarif("new.txt", 1)])
    engine.script["leaks --sarif"] = lambda _sandbox, _command: ended(1, next(outputs))
    finished = await scan_of(context, new__txt='key = "Zx81-secret"\n')
    [found] = finished.findings
    assert (found.title, found.file, finished.verdict) == ('a key: `key = "..."`', "new.txt", Verdict.BLOCK)
    assert "Zx81" not in str(finished)


async def test_a_command_without_sarif_gives_no_verdict(context: RunContext) -> None:
    settings_with(context, ScanSettings(commands=("leaks --sarif",)))
    engine = context.engine
    assert isinstance(engine, FakeEngine)
    engine.script["leaks --sarif"] = ended(127, "leaks: command not found\n")
    finished = await scan_of(context, new__py="x = 1\n")
    assert finished.verdict is Verdict.UNANSWERED
    assert "`leaks --sarif`: no SARIF log" in finished.note
    assert "command not found" in finished.note


async def test_the_security_reviewer_reads_what_the_scan_found(context: RunContext) -> None:
    commit = await changed(
        context, new__py='def tags(db, name):\n    return db.raw(f"SELECT a FROM tags WHERE n = {name}")\n'
    )
    effect = RunGate(1, GateName.SECURITY, commit, context.base, ())
    await review.security(context, effect, state_at(context, commit))
    assert isinstance(context.agents, ScriptedAgents)
    [prompt] = [assignment.prompt for assignment in context.agents.assigned]
    assert "what a scan found" in prompt
    assert "- new.py:2 [error] py-sql-by-string: an SQL statement is built from values" in prompt
