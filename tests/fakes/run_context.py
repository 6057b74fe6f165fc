"""A run's context over fakes: what its modules are tested with where no engine, repository or store is at hand."""

from collections.abc import Callable
from pathlib import Path

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.config.settings import Settings
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.store import Store
from codexteam.run.context import RunContext
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_agents import Act, ScriptedAgents


def _unheard(_kind: str, _fields: JSONObject) -> None:
    """Nobody listens."""


def fake_context(
    run_id: RunId,
    settings: Settings,
    repo: FakeRepo,
    folder: Path,
    act: Act | None = None,
    *,
    engine: FakeEngine | None = None,
    store: Store | None = None,
    report: Callable[[str, JSONObject], None] = _unheard,
) -> RunContext:
    """Return the context of a run at the head of a repository; its agents do what `act` does, if that is given."""
    engine = engine or FakeEngine()
    files = DiskRunFiles(folder, run_id, plan_root=folder, redact=str)
    context = RunContext(
        run_id, repo.head, settings, repo, store or MemoryStore(), engine, FakeClock(), files, report=report
    )
    if act is not None:
        context.agents = ScriptedAgents(engine, repo, run_id, folder, act)
    return context
