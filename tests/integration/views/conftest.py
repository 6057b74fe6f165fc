"""A repository in which runs have been: real git, a real state file, a hub, and events as a run reports them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codexteam.adapters.store.journal import EventsFile
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.core.effects import RunGate, Work
from codexteam.core.events import AttemptSucceeded, Event, GateFinished, RunStarted, Verdict
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import GateName, JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.core.stored_state import encode_event, encode_state
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord
from codexteam.run.loop import StoredStep
from tests.support_git import make_user
from tests.unit.core.run_world import World, tasks

AT = 1_700_000_000.0
#: A file name that a terminal would obey.
EVIL = "evil \x1b]52;c;x\x07.txt"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@dataclass
class Project:
    """A user's repository, and the state folder in it."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".git" / "codexteam"

    @property
    def common(self) -> Path:
        return self.root / ".git"

    def store(self) -> SqliteStore:
        self.state.mkdir(exist_ok=True)
        return SqliteStore(self.state / "state.sqlite")

    def record(
        self,
        run_id: str,
        history: Sequence[Event],
        *,
        state: str = "running",
        goal: str = "goal",
        rules: Rules | None = None,
        at: float = AT,
        extra: Sequence[tuple[str, JSONObject]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
        base: str = "0" * 39 + "1",
    ) -> None:
        """Write a run as the driver does: record, events, and what its views were told."""
        run = RunId(run_id)
        rules = rules or Rules()
        folder = self.state / "runs" / run

        async def write() -> None:
            store = self.store()
            await store.create_run(RunRecord(run, goal, base, state, at, {}))
            now = RunState(run, goal, rules)
            await store.save_checkpoint(run, 0, encode_state(now))
            store.record_facts(run, [RunEvent("run.opened", at, {"run": run, "goal": goal, "budget": "$5.00"})])
            for number, event in enumerate(history):
                before = now
                now, effects = step(before, event)
                told = StoredStep(event, before, now, effects).facts(at + number)
                await store.append(run, [(at + number, *encode_event(event))], [told])
            store.record_facts(run, [RunEvent(kind, at + len(history), fields) for kind, fields in extra])
            for space, key, value in values:
                await store.put(f"{run}/{space}", key, value)
            facts = await store.facts(run)
            file = EventsFile(folder / "events.jsonl", run, newest=len(facts))
            file.write(facts)
            file.close()
            await store.close()

        asyncio.run(write())

    def stored_state(self, run_id: str) -> RunState:
        from codexteam.run.loop import load_state

        async def read() -> RunState:
            store = SqliteStore(self.state / "state.sqlite", read_only=True)
            found = await load_state(store, RunId(run_id), goal="goal", rules=Rules())
            await store.close()
            return found

        return asyncio.run(read())

    def run_state(self, run_id: str) -> str:
        async def read() -> str:
            store = SqliteStore(self.state / "state.sqlite", read_only=True)
            found = next(run.state for run in await store.runs() if run.run_id == run_id)
            await store.close()
            return found

        return asyncio.run(read())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit, in which the commands are called."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("NO_COLOR", "FORCE_COLOR", "PAGER", "GIT_PAGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    (home / "gitconfig").write_text("[user]\n\tname = A User\n\temail = user@example.invalid\n")
    root = tmp_path / "project"
    make_user(root, {"a.txt": b"one\ntwo \x1b[31m\n", "folder/b.txt": b"three\n", EVIL: b"evil\n"})
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture
def cli(project: Project, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs `codexteam ARGUMENTS...` in this process."""
    from codexteam.cli.main import run

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


def waiting_world(*specs: str) -> World:
    """A run whose T1 waits for an answer, and whose other tasks are merged and judged."""
    world = World(tasks(*(specs or ("T1", "T2"))), luck=lambda what, n: {"work T1": 4, "clarify": 3}.get(what, 0) % n)
    world.run()
    return world


def stuck_world() -> World:
    """A run whose reviewer blocks in every round until a person is asked."""
    world = World(tasks("T1"), luck=lambda what, n: 5 if what == "gate reviewer" else 0)
    world.run()
    return world


def unfixed_world() -> World:
    """A run with three findings whose fixes changed nothing."""
    world = World(tasks("T1"), Rules(gates=(GateName.CI,), scout=False, document=False, release=False))
    world.send(RunStarted())
    while world.finished is None:
        effect = world.state.in_flight[min(world.state.in_flight)]
        if isinstance(effect, RunGate):
            found = tuple(
                Finding(f"wrong {what}", "detail", Severity.MUST_FIX, Category.CI, file=f"src/{what}.py")
                for what in ("one", "two", "three")
            )
            world.send(GateFinished(effect.round, effect.gate, effect.commit, Verdict.BLOCK, found))
        elif isinstance(effect, Work) and effect.task_id != "T1":
            world.send(AttemptSucceeded(effect.task_id, effect.attempt, None, "nothing to do"))
        else:
            world.send(world.answer(effect))
    return world


def approval_world() -> World:
    """A run whose plan waits for approval."""
    world = World(tasks("T1", "T2:T1"), rules=Rules(approve=("plan",)))
    world.run()
    return world


def green_world(*specs: str) -> World:
    world = World(tasks(*(specs or ("T1", "T2:T1"))))
    world.run()
    return world


def command(project: Project, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m codexteam` in the project as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "codexteam", *arguments],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
