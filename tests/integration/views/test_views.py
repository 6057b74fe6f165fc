"""`runs`, `status`, `show`, `logs`, `events` over a real state file: read only, for people and for programs."""

import asyncio
import json
import os
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.lock import RepositoryLock
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.core.stored_state import SCHEMA_VERSION
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import OpenCall, StoredSession
from codexteam.run.heartbeat import Heartbeat, leave_heartbeat
from tests.integration.views.conftest import (
    AT,
    Cli,
    Project,
    approval_world,
    command,
    green_world,
    stuck_world,
    waiting_world,
)

OLD, NEW = "20231114-2213-aaaa", "20231114-2313-bbbb"
TURN: JSONObject = {
    "agent": "implementer T1.1",
    "role": "implementer",
    "purpose": "implement",
    "task": "T1",
    "attempt": 1,
    "model": "gpt-5.4",
    "turn": 1,
    "usage": {"input_tokens": 1000, "cached_input_tokens": 800, "output_tokens": 50, "reasoning_tokens": 0},
    "usd": 0.25,
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def two_runs(project: Project) -> Project:
    project.record(OLD, green_world().history, state="green", goal="Add CSV\nimport", at=AT - 3600)
    project.record(NEW, waiting_world().history, state="waiting", extra=[("agent.turn", TURN)])
    return project


def test_runs_are_listed_newest_first_with_what_they_cost(two_runs: Project, cli: Cli) -> None:
    done = cli("runs")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["run", "state", "age", "tasks", "cost", "goal"]
    assert lines[1].split()[:2] == [NEW, "waiting"]
    assert lines[1].split()[3:] == ["1/2", "$0.250", "goal"]
    assert lines[2].split()[:2] == [OLD, "green"]
    assert "2/2" in lines[2]
    assert "Add CSV import" in lines[2]
    assert max(map(len, lines)) <= 80


def test_runs_in_json_end_with_a_terminal_record(two_runs: Project, cli: Cli) -> None:
    records = [json.loads(line) for line in cli("runs", "--json", "-n", "1").out.splitlines()]

    assert [record["type"] for record in records] == ["run", "runs.completed"]
    assert records[0]["run"] == NEW
    assert records[0]["waiting"] == ["question.T1.1"]
    assert records[0]["usage"]["cached_input_tokens"] == 800
    assert records[-1] == {"type": "runs.completed", "count": 1, "older": 1}


def newer(project: Project, run: str) -> None:
    """Leave a run as a newer codexteam would."""
    with closing(sqlite3.connect(project.state / "state.sqlite", isolation_level=None)) as database:
        database.execute("UPDATE checkpoint SET state = json_set(state, '$.schema', 99) WHERE run_id = ?", (run,))


def test_a_run_of_a_newer_version_hides_no_other(two_runs: Project, cli: Cli, tmp_path: Path) -> None:
    newer(two_runs, OLD)
    why = (
        f"run {OLD} cannot be read: state: checkpoint of schema 99; this version reads up to {SCHEMA_VERSION}; "
        "resume with the codexteam that wrote it, or a newer one"
    )

    listed = cli("runs")

    assert (listed.code, listed.err) == (0, f"{why}\n")
    first, second = listed.out.splitlines()[1:]
    assert first.split()[:2] == [NEW, "waiting"]
    assert second.split()[:2] == [OLD, "unreadable"]
    assert second.split()[3:] == ["-", "-", "Add", "CSV", "import"]
    record = json.loads(cli("runs", "--json").out.splitlines()[1])
    assert (record["run"], record["state"]) == (OLD, "unreadable")
    assert record["hint"] == "resume with the codexteam that wrote it, or a newer one"
    for words in (("salvage",), ("clean",), ("salvage", "--export", str(tmp_path / "out"))):
        done = cli(*words)
        assert why in done.err, words
        assert done.code == (6 if "--export" in words else 0), words
    assert "nothing: it cannot be read" in cli("clean", "--dry-run").out
    assert cli("status", NEW).code == 0
    for name in ("status", "clean", "salvage", "resume"):
        assert cli(name, OLD).code == 6, name


def test_a_waiting_run_of_a_newer_version_hides_no_other_question(two_runs: Project, cli: Cli) -> None:
    third = "20261122-1000-cccc"
    two_runs.record(third, waiting_world().history, state="waiting")
    newer(two_runs, third)

    done = cli("inbox")

    assert done.code == 0
    assert "question.T1.1" in done.out
    assert f"run {third} cannot be read" in done.err
    assert cli("answer", "question.T1.1", "In words", "--run", third).code == 6
    assert cli("answer", "question.T1.1", "In words").code == 0


@pytest.mark.parametrize("name", ["runs", "inbox"])
def test_a_repository_without_runs_has_none_to_list(name: str, project: Project, cli: Cli) -> None:
    done = cli(name)
    assert (done.code, done.out) == (0, "")
    assert done.err
    assert json.loads(cli(name, "--json").out)["count"] == 0
    assert not project.state.exists(), "looking makes nothing"


@pytest.mark.parametrize(
    "arguments", [("status",), ("show", "T1"), ("logs",), ("diff",), ("events",), ("answer", "x", "y"), ("stop",)]
)
def test_without_runs_other_commands_say_how_to_begin_one(
    arguments: tuple[str, ...], project: Project, cli: Cli
) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert 'codexteam run "goal"' in done.err
    assert not project.state.exists()


def test_a_run_is_found_by_a_prefix_and_a_wrong_name_lists_the_others(two_runs: Project, cli: Cli) -> None:
    assert cli("status", OLD[:13]).out.startswith(OLD)
    done = cli("status", "2024")
    assert done.code == 2
    assert NEW in done.err
    ambiguous = cli("status", "2023")
    assert ambiguous.code == 2
    assert "2 runs begin with it" in ambiguous.err


def test_a_run_whose_process_died_is_shown_as_interrupted(project: Project, cli: Cli) -> None:
    project.record(NEW, waiting_world().history[:6], state="running")
    assert cli("runs").out.splitlines()[1].split()[1] == "interrupted"
    with RepositoryLock(project.state, project.common, started="now") as lock:
        lock.name_run(NEW)
        assert cli("runs").out.splitlines()[1].split()[1] == "running"
        lock.name_run("20990101-0000-cccc")
        assert cli("runs").out.splitlines()[1].split()[1] == "interrupted", "it is another run that continues"


def test_status_shows_what_waits_first_then_tasks_gates_findings_and_cost(project: Project, cli: Cli) -> None:
    project.record(NEW, stuck_world().history, state="waiting", extra=[("agent.turn", TURN)])

    lines = cli("status").out.splitlines()

    assert lines[0].split() == [NEW, "waiting", "goal"]
    assert lines[1].startswith("waits   rounds.3: ")
    text = "\n".join(lines)
    assert "merged" in text
    assert "reviewer block" in text
    assert "F3 must_fix: problem" in text
    assert "$0.250 of $5.00, 1.0k in (80% cached), 50 out" in text
    assert "next    codexteam approve rounds.3" in text
    assert "next    codexteam inbox  # other answers" in text
    assert lines[-1] == "next    codexteam resume"


def test_status_in_json_has_the_whole_state(project: Project, cli: Cli) -> None:
    project.record(NEW, waiting_world().history, state="waiting")

    record, end = map(json.loads, cli("status", "--json").out.splitlines())

    assert end == {"type": "status.completed", "count": 1}
    assert [task["status"] for task in record["tasks"]] == ["waits", "merged"]
    assert record["waiting"] == [{"item": "question.T1.1", "question": "which?", "task": "T1"}]
    assert record["phase"] == "working"


def test_show_lists_attempts_with_reasons_and_commands(project: Project, cli: Cli) -> None:
    from codexteam.core.effects import CheckCandidate, Work
    from codexteam.core.events import AcceptanceFailed, AttemptFailed
    from tests.unit.core.run_world import World, accepted_by

    world = World(accepted_by("pytest -q", "T1@a.py"))

    # the first attempt fails, the second one's acceptance fails, the third is merged
    def answer(effect: object) -> object:
        if isinstance(effect, Work) and effect.attempt == 1:
            return AttemptFailed(effect.task_id, 1, "it \x1b[31mgave up", "E")
        if isinstance(effect, CheckCandidate) and effect.attempt == 2:
            return AcceptanceFailed(effect.task_id, 2, "1 failed", effect.number)
        return World.answer(world, effect)  # type: ignore[arg-type]  # an effect of the world

    world.answer = answer  # type: ignore[method-assign,assignment]  # this world's own answers
    world.run()
    check: JSONObject = {"task": "T1", "attempt": 2, "command": "pytest -q", "exit_code": 1, "wall_seconds": 1.25}
    acted: JSONObject = {**TURN, "action": "exec_command pytest -q [bold]x"}
    project.record(
        NEW,
        world.history,
        state="green",
        extra=[("agent.turn", TURN), ("agent.acted", acted), ("acceptance.checked", {**check, "timed_out": False})],
        values=[
            ("accepted", "T1.3", {"base": "a" * 40, "commit": "b" * 40}),
            ("receipts", "implementer/implement/T1/1", {"agent": "implementer T1.1", "model": {"value": "gpt-5.4"}}),
        ],
    )
    (project.state / "runs" / NEW / "tasks/T1/2").mkdir(parents=True)

    done = cli("show", "t1")

    assert done.code == 0
    assert done.out.startswith("T1 task T1  merged\n")
    assert "attempt 1 implement: failed: it \\x1b[31mgave up" in done.out
    assert "\x1b" not in done.out
    assert "  did     exec_command pytest -q [bold]x" in done.out
    assert "attempt 2 implement: failed: its acceptance commands fail on the merged tree" in done.out
    assert "  check   exit 1  `pytest -q` (1.2 s)" in done.out
    assert "attempt 3 implement: merged; handed in: done" in done.out
    assert f"  commit  {'b' * 10} on {'a' * 10}" in done.out
    assert str(project.state / "runs" / NEW / "tasks/T1/2") in done.out
    assert "  agent   implementer T1.1, gpt-5.4" in done.out

    record = json.loads(cli("show", "T1", "--json").out.splitlines()[0])
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2, 3]
    assert record["attempts"][1]["checks"][0]["exit_code"] == 1
    assert record["merged_as"]


def test_a_task_that_is_not_there_gets_a_hint(two_runs: Project, cli: Cli) -> None:
    done = cli("show", "T12")
    assert done.code == 2
    assert "there are T1, T2" in done.err
    assert "did you mean T" in done.err


def test_logs_are_plain_lines_and_a_tasks_include_its_agents(project: Project, cli: Cli) -> None:
    acted: JSONObject = {**TURN, "action": "exec_command ls\n\x1b]52;c;x\x07"}
    project.record(NEW, waiting_world().history, state="waiting", extra=[("agent.acted", acted)])

    everything, one = cli("logs").out, cli("logs", "T1").out

    assert "22:13:20 run 20231114-2313-bbbb: goal\n" in everything
    assert "T2 merged: task T2" in everything
    assert "exec_command" not in everything
    assert "T2" not in one
    assert "implementer T1.1: exec_command ls\\n\\x1b]52;c;x\\x07\n" in one
    assert cli("logs", NEW).out == everything, "a run's id is told from a task's"
    last = json.loads(cli("logs", "--json").out.splitlines()[-1])
    assert last["type"] == "logs.completed"
    assert last["count"] == len(everything.splitlines())


def test_events_are_the_lines_of_the_file(two_runs: Project, cli: Cli) -> None:
    path = two_runs.state / "runs" / NEW / "events.jsonl"

    assert cli("events").out == path.read_text()
    lines = cli("events", OLD, "--json").out.splitlines()
    assert json.loads(lines[-1]) == {"type": "events.completed", "run": OLD, "count": len(lines) - 1}


def test_following_ends_when_the_run_does_and_misses_no_line(project: Project, cli: Cli) -> None:
    project.record(NEW, waiting_world().history, state="running")
    path = project.state / "runs" / NEW / "events.jsonl"
    before = path.read_text()
    lock = RepositoryLock(project.state, project.common, started="now")
    lock.acquire()
    lock.name_run(NEW)

    async def report() -> None:
        store = project.store()
        for number in range(50):
            store.record_facts(RunId(NEW), [RunEvent("notice", AT, {"text": f"n{number}"})])
            await store.facts_recorded()
        await store.close()

    def go_on() -> None:
        asyncio.run(report())
        lock.release()

    writer = threading.Timer(0.3, go_on)
    writer.start()
    done = cli("events", "-f")
    writer.join()

    assert done.out.startswith(before)
    assert len(done.out.splitlines()) == len(before.splitlines()) + 50


def test_looking_writes_nothing_and_works_while_a_run_goes_on(two_runs: Project, cli: Cli) -> None:
    holding = SqliteStore(two_runs.state / "state.sqlite")  # as the run has it
    with RepositoryLock(two_runs.state, two_runs.common, started="now") as lock:
        lock.name_run(NEW)
        before = files(two_runs.root)
        for arguments in (("runs",), ("status",), ("show", "T1"), ("logs",), ("events",), ("inbox",)):
            assert cli(*arguments).code == 0, arguments
        after = files(two_runs.root)
    del holding
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {".git/codexteam/state.sqlite-shm"}, "SQLite's own index of readers"


def test_a_read_only_state_folder_can_be_looked_at(two_runs: Project, cli: Cli, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        before = files(two_runs.root)
        assert cli("status").code == 0
        assert files(two_runs.root) == before, "nothing is written, so a read-only folder is not an obstacle"
        return
    two_runs.state.chmod(0o500)
    try:
        assert cli("status").code == 0
    finally:
        two_runs.state.chmod(0o700)


def test_the_state_may_lie_elsewhere(two_runs: Project, cli: Cli, tmp_path: Path) -> None:
    two_runs.state.rename(tmp_path / "elsewhere")
    assert cli("status").code == 2
    assert cli("status", "--state-dir", str(tmp_path / "elsewhere")).out.startswith(NEW)
    assert cli("-C", "folder", "runs", "--state-dir", str(tmp_path / "elsewhere")).code == 0


@pytest.mark.parametrize("arguments", [("runs",), ("status",), ("show", "T1"), ("inbox",)])
def test_a_pipe_and_no_color_get_no_escapes_and_force_gets_some(
    arguments: tuple[str, ...], two_runs: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in cli(*arguments).out
    assert "\x1b[" in cli("--color", "always", *arguments).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli(*arguments).out


def test_no_foreign_text_reaches_the_terminal_live(project: Project, cli: Cli) -> None:
    from codexteam.core.ids import TaskId
    from codexteam.core.plan_graph import Task
    from tests.unit.core.run_world import World

    evil = "x\x1b]52;c;Zm9v\x07\x9b31m\u202e[red]\x1b[2J"
    task = Task(TaskId("T1"), evil, description=evil, paths=(evil,))
    world = World((task,), luck=lambda what, n: {"work T1": 4, "clarify": 3}.get(what, 0) % n)
    world.run()
    project.record(NEW, world.history, state="waiting", goal=evil)
    for arguments in (("runs",), ("status",), ("show", "T1"), ("logs",), ("inbox",), ("events",)):
        done = cli(*arguments)
        assert done.code == 0
        assert not set("\x1b\x07\x9b\u202e") & set(done.out + done.err), arguments


def test_a_reader_that_goes_away_early_is_no_error(two_runs: Project) -> None:
    import subprocess
    import sys

    async def report() -> None:
        store = two_runs.store()
        store.record_facts(RunId(NEW), [RunEvent("notice", AT, {"text": "n" * 500}) for _ in range(2000)])
        await store.close()

    asyncio.run(report())
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m codexteam -C {two_runs.root} logs | head -1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.splitlines()[-1] == "141"
    assert done.stderr == ""


def test_the_installed_command_looks_too(two_runs: Project) -> None:
    done = command(two_runs, "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[0])["run"] == NEW


@pytest.mark.slow
def test_the_shell_completes_runs_tasks_and_items(two_runs: Project) -> None:
    def completed(words: str) -> set[str]:
        done = command(
            two_runs, _CODEXTEAM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
        )
        return set(done.stdout.split())

    assert completed("codexteam status 2023") == {OLD, NEW}
    assert completed("codexteam show T") == {"T1", "T2"}
    assert completed("codexteam answer q") == {"question.T1.1"}


def test_inbox_names_the_run_where_two_wait_for_the_same(project: Project, cli: Cli) -> None:
    for run, at in ((OLD, AT - 60), (NEW, AT)):
        project.record(run, waiting_world().history, state="waiting", at=at)

    lines = cli("inbox").out.splitlines()

    for run in (OLD, NEW):
        assert f'    codexteam answer question.T1.1 --run {run} "TEXT"' in lines


def test_inbox_shows_every_question_of_runs_that_are_not_over(project: Project, cli: Cli) -> None:
    older = approval_world()
    project.record(OLD, older.history, rules=older.rules, state="waiting", at=AT - 60, goal="older")
    project.record(NEW, waiting_world().history, state="waiting")

    done = cli("inbox")

    assert done.out.splitlines()[0] == "question.T1.1  goal"
    assert "  which?" in done.out
    assert '    codexteam answer question.T1.1 "TEXT"' in done.out
    assert "    codexteam approve plan" in done.out
    assert [json.loads(line).get("item") for line in cli("inbox", "--json").out.splitlines()] == [
        "question.T1.1",
        "plan",
        None,
    ]


def test_a_call_that_died_with_its_process_may_cost_its_reservation(two_runs: Project, cli: Cli) -> None:
    agent = AgentKey(RunId(NEW), "implementer", Purpose.IMPLEMENT, "T1", 1)

    async def die() -> None:
        store = two_runs.store()
        await store.open_call(OpenCall(CallKey(agent, 2, Purpose.IMPLEMENT), "hash", 9_000, 0.5, None))
        await store.close()

    asyncio.run(die())

    status = json.loads(cli("status", "--json").out.splitlines()[0])
    story = json.loads(cli("show", "T1", "--json").out.splitlines()[0])

    most = {"calls": 1, "tokens": 9_000, "usd": 0.5}
    assert (status["usd"], status["at_most_more"]) == (0.25, most)
    assert (story["attempts"][0]["usd"], story["attempts"][0]["at_most_more"]) == (0.25, most)
    assert "at most 9.0k tokens and $0.500 more, which the budget counts" in cli("status").out
    assert "at most 9.0k tokens and $0.500 more" in cli("show", "T1").out
    assert "$0.250 to $0.750" in cli("runs").out


@pytest.mark.parametrize(
    ("ages", "word", "says"),
    [
        ((-600.0, 65.0), "running", r"waiting for the model for [1-4]:\d\d\n"),
        ((-600.0, 400.0), "stalled", r"stalled, nothing heard for \d+:\d\d"),
        ((60.0, 61.0), "stalled", r"its process has given no sign for \d+ s, and should every 5 s"),
    ],
)
def test_a_live_run_is_shown_as_its_heartbeat_says(
    project: Project, cli: Cli, ages: tuple[float, float], word: str, says: str
) -> None:
    beat_age, heard_age = ages  # a heartbeat that is still to come is not missed, however slow this machine is
    agent: JSONObject = {"agent": "implementer/implement/T1.1", "role": "implementer", "task": "T1", "attempt": 1}
    project.record(NEW, waiting_world().history, state="running", extra=[("agent.started", agent)])
    now = SystemClock().wall_seconds()

    async def live() -> None:
        store = project.store()
        number = await store.begin_session(StoredSession(RunId(NEW), 0, "0.1.0", "host", 1, "", now))
        activity = Activity(str(agent["agent"]), Doing.MODEL, now - heard_age, now - heard_age)
        leave_heartbeat(store, RunId(NEW), Heartbeat(number, now - beat_age, 5.0, 300.0, (activity,)))
        await store.close()

    asyncio.run(live())
    lock = RepositoryLock(project.state, project.common, started="now")
    lock.acquire()
    lock.name_run(NEW)
    try:
        shown, listed = cli("status").out, cli("runs").out
        told = json.loads(cli("status", "--json").out.splitlines()[0])
    finally:
        lock.release()

    assert shown.split()[1] == listed.splitlines()[1].split()[1] == told["state"] == word
    assert re.search(says, shown), shown
    assert told["agents"][0]["state"] == "model"
    assert told["agents"][0]["stalled"] is (heard_age > 300)
