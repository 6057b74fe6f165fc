"""Before the plan among fakes: who looks, who reads the goal, what the planner gets, and what becomes of its words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import StepMode, StepSettings
from codexteam.core.answers import RoleAnswer, ScoutedFile, ScoutReport
from codexteam.core.effects import MakePlan, Scout
from codexteam.core.events import Planned, PlanningFailed, Scouted
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.run import planning
from codexteam.run.assignment import Assignment
from codexteam.run.context import RunContext
from codexteam.run.remembered import ScoutsText
from codexteam.run.scout_memory import ScoutMemory
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.run_context import fake_context
from tests.fakes.scripted_agents import ScriptedAgents

RUN = RunId("20261121-0231-7f3a")
REPORT: JSONObject = {
    "summary": "Rows are tuples.",
    "files": [],
    "ci": [],
    "next_probes": ["the writer"],
    "questions": None,
}
TASK: JSONObject = {
    "id": "T1",
    "title": "Read",
    "description": "",
    "role": "qa_test_author",
    "deps": [],
    "paths": ["a.py"],
    "acceptance": [],
    "effort": 1,
    "fixes": [],
}
PLAN: JSONObject = {"summary": "One task.", "tasks": [TASK], "later": [], "risks": [], "questions": []}
VAGUE = "Import CSV"
CLEAR = "Import CSV files with a header into the table of bookings"

Make = Callable[..., RunContext]


@pytest.fixture
async def make_context(tmp_path: Path) -> Make:
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings = load_settings(LoadRequest(tmp_path, environment, system_folder=tmp_path / "none"))
    repo = FakeRepo(tmp_path / "repo", {"a.py": b"a = 1\n"})
    await repo.fetch_base(RUN, repo.head)

    def make(steps: StepSettings | None = None, **answers: JSONObject) -> RunContext:
        async def act(assignment: Assignment[RoleAnswer], sandbox: object) -> JSONObject:
            given = {"explorer": REPORT, "requirement_analyst": REPORT, "orchestrator": PLAN, **answers}
            return given[assignment.key.role]

        of_run = replace(settings, team=replace(settings.team, steps=steps or StepSettings()))
        return fake_context(RUN, of_run, repo, tmp_path, act)

    return make


def state_of(context: RunContext, goal: str = VAGUE) -> RunState:
    return RunState(RUN, goal, Rules(), base=context.base, tip=context.base)


def asked(context: RunContext) -> list[tuple[str, int]]:
    assert isinstance(context.agents, ScriptedAgents)
    return [(each.key.role, each.key.attempt) for each in context.agents.assigned]


def prompts_to(context: RunContext, role: str) -> list[str]:
    assert isinstance(context.agents, ScriptedAgents)
    return [each.prompt for each in context.agents.assigned if each.key.role == role]


async def test_the_analyst_reads_what_the_scouts_found_and_its_reading_stays(make_context: Make) -> None:
    context = make_context(requirement_analyst={**REPORT, "summary": "Goal: CSV with a header."})
    state = state_of(context)
    await planning.scout(context, Scout(), state)

    await planning.make_plan(context, MakePlan(1), state)
    await planning.make_plan(context, MakePlan(2, "The user says: without a header"), state)

    [reading] = prompts_to(context, "requirement_analyst")
    assert "Rows are tuples." in reading
    assert all("Goal: CSV with a header." in prompt for prompt in prompts_to(context, "orchestrator"))


LISTED: JSONObject = {"path": "a.py", "purpose": "the only module", "symbols": []}


async def test_long_reports_leave_room_for_the_index(make_context: Make) -> None:
    context = make_context(explorer={**REPORT, "summary": f"New: {'n' * 50_000}", "files": [LISTED]})
    state = state_of(context)
    await planning.scout(context, Scout(), state)
    await planning.make_plan(context, MakePlan(2), state)

    [prompt] = prompts_to(context, "orchestrator")
    assert "New: nnn" in prompt
    assert "a.py: the only module" in prompt


async def test_reports_of_earlier_runs_take_their_share_and_no_more(make_context: Make) -> None:
    context = make_context(explorer={**REPORT, "files": [LISTED]})
    files = await context.repo.list_files(context.base)
    for number in range(12):
        old = ScoutReport(f"Old {number}: {'~' * 3_000}", (ScoutedFile("a.py", "a module", ()),), (), ())
        memory = ScoutMemory(context.store)
        await memory.keep(old, f"part {number}", files, goal="before", sent=[], about_build=False)
    await planning.scout(context, Scout(), state_of(context))

    report = await context.recall("scouts", "report", ScoutsText)
    assert report is not None
    assert "Rows are tuples." in report.text
    assert "Old 11" in report.text
    assert "Old 1:" not in report.text
    assert 6_000 <= report.text.count("~") < 12_000
    assert "a.py: the only module" in report.text


@pytest.mark.parametrize(
    "answer",
    [
        {**REPORT, "questions": ["Which delimiter?"]},
        {**REPORT, "questions": None, "summary": "Goal: CSV.\n\n## Questions\n- Which delimiter?\n\nAssumptions: none"},
    ],
)
async def test_the_analysts_questions_reach_the_user_before_there_is_a_plan(
    make_context: Make, answer: JSONObject
) -> None:
    context = make_context(requirement_analyst=answer)

    first = await planning.make_plan(context, MakePlan(1), state_of(context))
    second = await planning.make_plan(context, MakePlan(2, "The user says: a comma"), state_of(context))

    assert isinstance(first, Planned)
    assert first.plan.questions == ("Which delimiter?",)
    assert isinstance(second, Planned)
    assert len(second.plan.tasks) == 1
    assert asked(context) == [("requirement_analyst", 1), ("orchestrator", 2)]


@pytest.mark.parametrize(
    ("mode", "goal", "reads"),
    [
        (StepMode.AUTO, VAGUE, True),
        (StepMode.AUTO, CLEAR, False),
        (StepMode.ALWAYS, CLEAR, True),
        (StepMode.OFF, VAGUE, False),
    ],
)
async def test_the_analyst_reads_as_its_step_says(make_context: Make, mode: StepMode, goal: str, reads: bool) -> None:
    context = make_context(StepSettings(analyst=mode))

    await planning.make_plan(context, MakePlan(1), state_of(context, goal))

    assert (("requirement_analyst", 1) in asked(context)) is reads


async def test_a_second_round_of_scouts_adds_to_what_the_first_found(make_context: Make) -> None:
    context = make_context()
    state = state_of(context)
    first = await planning.scout(context, Scout(), state)
    count = len(asked(context))

    await planning.scout(context, Scout(2, ("how rows are written",)), state)
    await planning.make_plan(context, MakePlan(2), replace(state, scout_rounds=2))

    assert isinstance(first, Scouted)
    assert first.next_probes == ("the writer",)
    assert asked(context)[count] == ("explorer", count + 1)
    [prompt] = prompts_to(context, "orchestrator")
    assert "how rows are written (the planner asks for it)" in prompt
    assert f"Scout {count} " in prompt
    assert "It would look next at:\n- the writer" in prompt
    assert "`probes`" not in prompt


async def test_what_a_planner_wants_looked_at_is_refused_after_the_second_round(make_context: Make) -> None:
    context = make_context(orchestrator={**PLAN, "tasks": [], "probes": ["the reader"]})
    state = state_of(context, CLEAR)

    early = await planning.make_plan(context, MakePlan(1), replace(state, scout_rounds=1))
    late = await planning.make_plan(context, MakePlan(2), replace(state, scout_rounds=2))

    assert isinstance(early, Planned)
    assert early.plan.probes == ("the reader",)
    assert isinstance(late, PlanningFailed)


@pytest.mark.parametrize(
    ("mode", "roles"), [(StepMode.AUTO, ["qa_test_author", "documentation"]), (StepMode.OFF, ["qa_test_author"])]
)
async def test_documentation_that_the_goal_asks_for_is_a_task_unless_it_is_off(
    make_context: Make, mode: StepMode, roles: list[str]
) -> None:
    context = make_context(StepSettings(documentation=mode))

    event = await planning.make_plan(context, MakePlan(1), state_of(context, f"{CLEAR}, and document it."))

    assert isinstance(event, Planned)
    assert [task.role for task in event.plan.tasks] == roles
