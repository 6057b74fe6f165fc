"""The documentation step among fakes: whether it is done, what it is told, what of its work is taken."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import StepMode
from codexteam.core.answers import RoleAnswer
from codexteam.core.effects import Document
from codexteam.core.events import Documented
from codexteam.core.ids import CommitId, JSONObject, Purpose, RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.state import Rules, RunState, TaskPhase, TaskState
from codexteam.run import finishing
from codexteam.run.assignment import Assignment
from codexteam.run.context import RunContext
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.run_context import fake_context
from tests.fakes.scripted_agents import ScriptedAgents

RUN = RunId("20261121-0231-7f3a")
DONE: JSONObject = {
    "status": "done",
    "summary": "It is described.",
    "commands": [],
    "question": None,
    "later": [],
    "risks": [],
}
FILES = {"a.py": b"def load(path):\n    return path\n", "README.md": b"Call `load`.\n", "requirements.txt": b"a\n"}

Writes = dict[str, bytes]
Make = Callable[..., RunContext]


@pytest.fixture
async def make_context(tmp_path: Path) -> Make:
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    settings = load_settings(LoadRequest(tmp_path, environment, system_folder=tmp_path / "none"))
    repo = FakeRepo(tmp_path / "repo", FILES)
    await repo.fetch_base(RUN, repo.head)
    engine = FakeEngine()

    def make(*tries: Writes, mode: StepMode = StepMode.ALWAYS) -> RunContext:
        steps = replace(settings.team.steps, documentation=mode)

        async def act(assignment: Assignment[RoleAnswer], sandbox: object) -> JSONObject:
            for path, data in tries[assignment.key.attempt - 1].items():
                await engine.started[-1].write_file(path, data)
            return DONE

        of_run = replace(settings, team=replace(settings.team, steps=steps))
        return fake_context(RUN, of_run, repo, tmp_path, act, engine=engine)

    return make


async def changed(context: RunContext, files: Writes) -> CommitId:
    """Commit what a task changed."""
    assert isinstance(context.repo, FakeRepo)
    base = context.repo.head
    tree = context.repo.tree_with(base, files)
    return await context.repo.commit(tree, (base,), "a task", await context.author("implementer", "x"))


def merged(context: RunContext, tip: CommitId, *tasks: Task, goal: str = "Let load take a delimiter.") -> RunState:
    states = {task.id: TaskState(task, TaskPhase.MERGED) for task in tasks}
    return RunState(RUN, goal, Rules(), base=context.base, tip=tip, tasks=states)


async def document(context: RunContext, state: RunState, number: int = 1) -> Documented:
    assert state.tip is not None
    event = await finishing.document(context, Document(state.tip, number), state)
    assert isinstance(event, Documented)
    return event


def prompts_of(context: RunContext) -> list[str]:
    assert isinstance(context.agents, ScriptedAgents)
    return [assignment.prompt for assignment in context.agents.assigned]


CODE_TASK = Task(TaskId("T1"), "Take a delimiter", paths=("a.py",))


@pytest.mark.parametrize(
    ("files", "task", "goal", "why"),
    [
        (
            {"a.py": b"def load(path, by):\n    return path\n"},
            CODE_TASK,
            "Speed up.",
            "`load`, which the change touches",
        ),
        ({"b.py": b"x = 1\n"}, CODE_TASK, "Speed up and document it.", "the goal asks for it"),
        (
            {"b.py": b"x = 1\n"},
            replace(CODE_TASK, description="Update the docs."),
            "Speed up.",
            "the plan asks for it (T1)",
        ),
        ({"b.py": b"x = 1\n"}, CODE_TASK, "Speed up.", ""),
        ({"b.py": b"x = 1\n", "README.md": b"New.\n"}, CODE_TASK, "Speed up and document it.", ""),
        ({"b.py": b"x = 1\n"}, replace(CODE_TASK, role="documentation"), "Speed up and document it.", ""),
    ],
)
async def test_auto_documents_where_goal_plan_or_diff_ask(
    make_context: Make, files: Writes, task: Task, goal: str, why: str
) -> None:
    context = make_context({}, mode=StepMode.AUTO)

    event = await document(context, merged(context, await changed(context, files), task, goal=goal))

    assert [why in prompt for prompt in prompts_of(context)] == ([True] if why else [])
    assert event.note == ("It is described." if why else finishing.NOT_ASKED)


async def test_the_writer_is_told_which_paths_it_may_write(make_context: Make) -> None:
    context = make_context({"README.md": b"Call `load` with a delimiter.\n"})

    event = await document(context, merged(context, await changed(context, {"a.py": b"x = 1\n"}), CODE_TASK))

    assert "under these paths: **/*.md," in prompts_of(context)[0]
    assert event.commit is not None
    assert event.failure == ""


async def test_in_several_repositories_each_has_documentation(make_context: Make) -> None:
    context = make_context({"api/docs/use.txt": b"Call it.\n"})
    context.repositories = ("api", "web")

    event = await document(context, merged(context, await changed(context, {"web/a.py": b"x = 1\n"}), CODE_TASK))

    assert "api/docs/, api/doc/, web/docs/" in prompts_of(context)[0]
    assert event.commit is not None, event.failure


async def test_docstrings_in_code_are_taken(make_context: Make) -> None:
    context = make_context({"a.py": b'def load(path):\n    """Give the path."""\n    return path\n'})

    event = await document(context, merged(context, context.base, CODE_TASK))

    assert event.commit is not None


@pytest.mark.parametrize(
    ("path", "data", "why"),
    [
        ("a.py", b"def load(path):\n    return None\n", "more than comments and docstrings changed"),
        ("b.py", b"x = 1\n", "it is a new file of code"),
        ("requirements.txt", b"b\n", "cannot be checked in .txt files"),
    ],
)
async def test_refused_paths_are_tried_once_more_with_the_reason(
    make_context: Make, path: str, data: bytes, why: str
) -> None:
    good = FILES.get(path)
    again = {"README.md": b"New.\n"} | ({path: good} if good else {path: b""})
    context = make_context({path: data}, again)

    event = await document(context, merged(context, context.base, CODE_TASK))

    first, second = prompts_of(context)
    assert "was refused" not in first
    assert why in second
    assert (event.commit is not None) is (good is not None)


async def test_what_is_refused_twice_is_a_failure_with_its_reason(make_context: Make) -> None:
    code = {"a.py": b"x = 1\n"}
    context = make_context(code, code, code, code)
    state = merged(context, context.base, CODE_TASK)

    event = await document(context, state)

    assert event.commit is None
    assert event.failure.startswith("it was refused: [scope] a.py:")
    assert len(prompts_of(context)) == 2

    await document(context, state, number=2)

    assert isinstance(context.agents, ScriptedAgents)
    assert [(each.key.purpose, each.key.attempt) for each in context.agents.assigned] == [
        (Purpose.DOCUMENT, attempt) for attempt in (1, 2, 3, 4)
    ]
