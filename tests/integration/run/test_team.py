"""Effects over real git and real sandboxes, with scripted agents: the team without the model."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from codexteam.adapters.git.content import SecretScanner
from codexteam.adapters.git.location import locate
from codexteam.adapters.git.repo import GitRepo
from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app.demo import GOAL
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.answers import RoleAnswer
from codexteam.core.effects import Result
from codexteam.core.events import RunStarted
from codexteam.core.ids import CommitId, GateName, JSONObject, Purpose, RunId
from codexteam.core.state import FindingStatus, Rules
from codexteam.ports.sandbox import Sandbox
from codexteam.run.assignment import Assignment
from codexteam.run.context import RunContext
from codexteam.run.effects import RunEffectHandler
from codexteam.run.loop import Driver, load_state
from tests.demo import edits, script
from tests.fakes.scripted_agents import ScriptedAgents

SAMPLE = Path(__file__).parents[3] / "codexteam" / "app" / "demo" / "sample"
RUN = RunId("20261121-0231-7f3a")

pytestmark = [pytest.mark.bubblewrap, pytest.mark.complete, pytest.mark.timeout(600)]


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    root = tmp_path / "tally"
    shutil.copytree(SAMPLE, root)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "tally")
    return root


@pytest.fixture
def settings(sample: Path, tmp_path: Path) -> Settings:
    home = tmp_path / "codex-home"
    home.mkdir()
    request = LoadRequest(sample, {"CODEX_HOME": str(home), "HOME": str(tmp_path)}, system_folder=tmp_path / "none")
    loaded = load_settings(request)
    gates = replace(loaded.team.gates, commands=(script.TESTS,), enabled=(GateName.CI, GateName.REVIEW))
    return replace(loaded, team=replace(loaded.team, gates=gates))


def task_report(summary: str = "done", **changes: object) -> JSONObject:
    good: JSONObject = {
        "status": "done",
        "summary": summary,
        "commands": [],
        "question": None,
        "later": [],
        "risks": [],
    }
    return {**good, **cast("JSONObject", changes)}


WRITES: dict[tuple[str, int], dict[str, str]] = {
    ("T1", 1): {"tally/read_csv.py": edits.READ_CSV, "tests/test_read_csv.py": edits.TEST_READ_CSV},
    ("T2", 1): {
        "tally/summary.py": "def summarise(entries):\n    return {e.category: e.cents for e in entries}\n",
        "tests/test_summary.py": edits.TEST_SUMMARY,
    },
    ("T2", 2): {"tally/summary.py": edits.SUMMARY, "tests/test_summary.py": edits.TEST_SUMMARY},
    ("T3", 1): {"tally/markdown.py": edits.MARKDOWN, "tests/test_markdown.py": edits.TEST_MARKDOWN},
    ("T4", 1): {"tests/test_report.py": edits.TEST_REPORT},
    ("T5", 1): {},
}


async def act(assignment: Assignment[RoleAnswer], sandbox: Sandbox) -> JSONObject:
    key = assignment.key
    match key.purpose:
        case Purpose.PLAN:
            return script.PLAN
        case Purpose.REPLAN:
            return script.FIX_PLAN
        case Purpose.REVIEW:
            verdict = "block" if key.attempt == 1 else "ship"
            finding: JSONObject = {
                "title": "A bar breaks the table",
                "detail": "d",
                "severity": "must_fix",
                "category": "correctness",
                "file": "tally/markdown.py",
                "line": 1,
                "suggestion": None,
                "paths": [],
            }
            return {
                "verdict": verdict,
                "summary": "s",
                "findings": [finding] if verdict == "block" else [],
                "risks": [],
            }
        case _:
            for path, text in WRITES[key.task_id, key.attempt].items():
                await sandbox.write_file(path, text.encode())
            if key.task_id == "T4":
                main = (await sandbox.read_file("tally/__main__.py", limit_bytes=1 << 20) or b"").decode()
                main = main.replace("import sys\n", "import sys\n\nfrom tally.markdown import table\n", 1)
                main = main.replace(
                    "    if len(arguments) != 1:",
                    '    if len(arguments) == 2 and arguments[0] == "report":\n'
                    "        from tally.read_csv import read_csv\n        from tally.summary import summarise\n\n"
                    '        print(table(summarise(read_csv(arguments[1]))), end="")\n        return 0\n'
                    "    if len(arguments) != 1:",
                )
                await sandbox.write_file("tally/__main__.py", main.encode())
            if key.task_id == "T5":
                text = edits.MARKDOWN.replace("{category} |", "{category.replace('|', chr(92) + '|')} |")
                await sandbox.write_file("tally/markdown.py", text.encode())
            return task_report(f"{key.task_id} done")


@pytest.fixture
async def make_context(
    sample: Path, settings: Settings, tmp_path: Path
) -> AsyncIterator[Callable[[Callable[[Assignment[RoleAnswer], Sandbox], object]], RunContext]]:
    places = locate(sample, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    state_dir = sample / ".git" / "codexteam"
    repo = GitRepo(places, state_dir, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, scanner=SecretScanner())
    engine = BubblewrapEngine(state_dir / "bubblewrap")
    store = SqliteStore(state_dir / "state.sqlite")
    told: list[tuple[str, JSONObject]] = []

    def make(acting: Callable[[Assignment[RoleAnswer], Sandbox], object]) -> RunContext:
        files = DiskRunFiles(state_dir, RUN, plan_root=sample, redact=lambda text: text)
        agents = ScriptedAgents(engine, repo, RUN, tmp_path, acting)  # type: ignore[arg-type]  # coroutine functions
        context = RunContext(
            RUN,
            CommitId(git(sample, "rev-parse", "HEAD").strip()),
            settings,
            repo,
            store,
            engine,
            SystemClock(),
            files,
            lambda kind, fields: told.append((kind, fields)),
        )
        context.agents = agents
        return context

    yield make
    await engine.sweep(RUN)
    await engine.close()
    await repo.close()
    await store.close()


async def test_a_team_turns_a_goal_into_a_green_branch(
    make_context: Callable[[object], RunContext], sample: Path, settings: Settings
) -> None:
    context = make_context(act)
    base = context.base
    before = git(sample, "status", "--porcelain", "--ignored")
    rules = Rules(max_threads=3, gates=settings.team.gates.enabled, scout=False, document=False, release=False)
    state = await load_state(context.store, RUN, goal=GOAL, rules=rules)
    handler = RunEffectHandler(context)
    driver = Driver(RUN, store=context.store, handler=handler, clock=context.clock, state=state)

    finish = await asyncio.wait_for(driver.drive(RunStarted()), 200)

    assert (finish.result, finish.reason) == (Result.GREEN, "every gate passed on the commit that the branch points to")
    attempts = {task_id: known.attempt for task_id, known in driver.state.tasks.items()}
    assert attempts == {"T1": 1, "T2": 2, "T3": 1, "T4": 1, "T5": 1}, "T2 said that it was done, and was not"
    assert (
        "FAIL: test_categories_are_added_up"
        in driver.state.tasks[next(iter(k for k in attempts if k == "T2"))].evidence
    )
    assert [known.status for known in driver.state.findings.values()] == [FindingStatus.FIXED]
    branch = f"codexteam/{RUN}"
    assert git(sample, "rev-parse", branch).strip() == driver.state.tip
    files = git(sample, "ls-tree", "-r", "--name-only", branch).split()
    assert {"tally/read_csv.py", "tally/summary.py", "tally/markdown.py", "tests/test_report.py"} <= set(files)
    assert "plan.md" not in files
    log = git(sample, "log", "--format=%an <%ae>%n%B", f"{base}..{branch}")
    assert "codexteam implementer <implementer@codexteam.invalid>" in log
    assert "Codexteam-Task: T4" in log
    assert git(sample, "rev-parse", "HEAD").strip() == base
    assert git(sample, "status", "--porcelain", "--ignored") == before + "?? plan.md\n"
    plan = (sample / "plan.md").read_text()
    assert "- [x] **T5** Keep bars inside their cell" in plan
