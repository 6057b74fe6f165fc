"""What scouts found in one run, in the next one on the same repository."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.config.settings import StepMode, StepSettings
from codexteam.core.answers import RoleAnswer
from codexteam.core.effects import MakePlan, Scout
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.run import planning
from codexteam.run.assignment import Assignment
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.memory_store import MemoryStore
from tests.fakes.run_context import fake_context
from tests.unit.run.test_agents import settings_in
from tests.unit.run.test_planning import PLAN, REPORT

GOAL = "Import CSV files with a header into the table of bookings"
FILES = {f"src/part{number}.py": b"%d\n" % number for number in range(60)} | {"README.md": b"Read me.\n"}


@dataclass
class Repository:
    """One repository over several runs."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    runs: int = 0
    notices: list[str] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)

    async def scouted(
        self, goal: str = GOAL, change: Mapping[str, bytes] | None = None, mode: StepMode = StepMode.AUTO
    ) -> list[str]:
        """Let a new run scout and plan; give what its scouts were sent to."""
        self.runs += 1
        run = RunId(f"20261121-0231-{self.runs:04}")
        repo = FakeRepo(self.folder / str(run), {**FILES, **(change or {})})
        await repo.fetch_base(run, repo.head)
        settings = settings_in(self.folder)
        self.prompts.clear()

        async def act(assignment: Assignment[RoleAnswer], sandbox: object) -> JSONObject:
            self.prompts[str(assignment.key)] = assignment.prompt
            if assignment.key.role == "orchestrator":
                return PLAN
            if "how the repository is built" in assignment.prompt:
                return {**REPORT, "summary": "Built by hand.", "ci": [{"file": "README.md", "command": "pytest -q"}]}
            return {**REPORT, "files": [{"path": "src/part1.py", "purpose": "rows", "symbols": ["Row"]}]}

        def heard(kind: str, fields: JSONObject) -> None:
            if kind == "notice":
                self.notices.append(str(fields["text"]))

        steps = StepSettings(scouts=mode, analyst=StepMode.OFF)
        of_run = replace(settings, team=replace(settings.team, steps=steps))
        context = fake_context(run, of_run, repo, self.folder, act, store=self.store, report=heard)
        state = RunState(run, goal, Rules(), base=context.base, tip=context.base)
        await planning.scout(context, Scout(), state)
        await planning.make_plan(context, MakePlan(1), state)
        return [
            prompt.partition("Your part: ")[2].split("\n")[0].partition(":")[0]
            for name, prompt in sorted(self.prompts.items())
            if name.startswith("explorer")
        ]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


async def test_an_unchanged_repository_is_not_scouted_again(repository: Repository) -> None:
    assert await repository.scouted() == [
        "how the repository is built, tested and checked",
        "the code in src",
        "the code in README.md",
    ]
    assert repository.notices == []

    assert await repository.scouted() == []
    [prompt] = repository.prompts.values()
    assert "A scout of an earlier run (how the repository is built" in prompt
    assert "Built by hand." in prompt
    assert "Rows are tuples." in prompt
    assert "src/part1.py: rows [Row]" in prompt
    assert repository.notices == [
        "scouts: 3 reports of earlier runs still count, since the files they rest on are unchanged"
    ]


async def test_only_what_has_changed_is_scouted_again(repository: Repository) -> None:
    await repository.scouted()

    assert await repository.scouted(change={"src/part7.py": b"new\n"}) == ["the code in src/part7.py"]
    assert await repository.scouted(change={"README.md": b"Built by make now.\n", "src/part7.py": b"new\n"}) == [
        "how the repository is built, tested and checked",
        "the code in README.md",
    ]


async def test_a_report_whose_files_have_changed_counts_no_more(repository: Repository) -> None:
    await repository.scouted()

    await repository.scouted(change={"src/part1.py": b"new\n"})
    [prompt] = [text for name, text in repository.prompts.items() if name.startswith("orchestrator")]
    assert "A scout of an earlier run (the code in src" not in prompt
    assert "A scout of an earlier run (how the repository is built" in prompt


async def test_another_goal_is_scouted_for_where_it_names_what_nobody_described(repository: Repository) -> None:
    await repository.scouted()

    assert await repository.scouted("Speed up src/part9.py and src/part1.py") == ["the code in src/part9.py"]
    assert await repository.scouted("Say hello") == []


async def test_scouts_that_are_always_wanted_look_again(repository: Repository) -> None:
    first = await repository.scouted(mode=StepMode.ALWAYS)

    assert await repository.scouted(mode=StepMode.ALWAYS) == first
