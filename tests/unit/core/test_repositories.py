"""A plan for several repositories: each task is in one, and its result is put into all or none."""

from dataclasses import replace

import pytest

from codexteam.core.answers import PlanAnswer, PlannedTask
from codexteam.core.effects import Result
from codexteam.core.events import AttemptFailed
from codexteam.core.ids import TaskId
from codexteam.core.plan_answer import plan_of
from codexteam.core.plan_check import PlanNames, check_plan
from codexteam.core.plan_graph import Task
from codexteam.core.plan_md import parse
from codexteam.core.repositories import (
    in_each,
    merge_order,
    order_problems,
    repositories_in,
    repository_of_command,
    scope_problem,
)
from codexteam.core.state import TaskPhase
from codexteam.errors import PlanError
from tests.unit.core.run_world import World, tasks
from tests.unit.core.test_step import ONE_GATE, started

BOTH = ("api", "web")
PLAN = """# Plan: Prices

## Goal

Prices have a currency.

## Tasks

- [ ] **T1** Name it `implementer` (effort 1)
  - paths: {paths}
"""


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["api/src/", "api/tests/**"], ""),
        (["./web/a.py"], ""),
        (["api"], ""),
        ([], "it names no repository (api, web)"),
        (["src/a.py"], "`src/a.py` lies in no repository (api, web)"),
        (["**/a.py"], "`**/a.py` lies in no repository (api, web)"),
        (["api/a.py", "web/b.py"], "`web/b.py` lies in web, and the paths before in api"),
    ],
)
def test_all_paths_of_a_task_lie_in_one_repository(paths: list[str], problem: str) -> None:
    found = scope_problem(paths, BOTH)

    assert (found is None) is not bool(problem)
    assert found is None or found[0].startswith(problem)
    assert scope_problem(paths, ()) is None


def test_a_task_without_paths_may_write_in_every_repository() -> None:
    assert repositories_in(("web/a.py", "web/lib/"), BOTH) == ("web",)
    assert repositories_in((), BOTH) == BOTH


@pytest.mark.parametrize(
    ("line", "repository"),
    [
        ("cd api && python -m pytest", "api"),
        ("cd ./web/app; npm test -- ../../api/openapi.json", "web"),
        ("cd web && npm run api", "web"),
        ("cd api && make && cd ../web && make", ""),
        ("make -C web test", "web"),
        ("cd api && make -C ../web test", ""),
        ("cd api && npm --prefix=../web test", ""),
        ("cd web && make -C app test", "web"),
        ("pytest api/tests --junit-xml=/tmp/x.xml", "api"),
        ("python /repos/api/check.py web/client.json", ""),
        ("./check.sh", ""),
    ],
)
def test_a_command_works_in_the_repository_that_it_names_alone(line: str, repository: str) -> None:
    assert repository_of_command(line, BOTH) == repository


def test_what_is_said_from_a_root_is_said_of_each_folder() -> None:
    assert in_each([".github/workflows", "**/.npmrc", "/plan.md"], BOTH) == (
        "api/.github/workflows",
        "api/plan.md",
        "web/.github/workflows",
        "web/plan.md",
    )


def test_an_answer_whose_tasks_cross_repositories_is_sent_back() -> None:
    answered = (planned("T1", ["api/a.py"]), planned("T2", ["api/a.py", "web/b.py"]))
    answer = _answer(*answered)

    with pytest.raises(PlanError, match="T2: `web/b.py` lies in web"):
        plan_of(answer, goal="g", roles=["implementer"], max_tasks=9, repositories=BOTH)
    assert len(plan_of(answer, goal="g", roles=["implementer"], max_tasks=9).tasks) == 2


@pytest.mark.parametrize(
    ("says", "deps", "refused"),
    [
        ("Show what `../api/openapi.yaml` names.", {}, True),
        ("Show what /repos/api/openapi.yaml: names.", {"T2": ("T1",)}, False),
        ("Show what `api/openapi.yaml` names.", {"T2": ("T3",), "T3": ("T1",)}, False),
        ("Show what `api/README.md` names.", {}, False),
        ("Use web/lib.py as before.", {}, False),
    ],
)
def test_who_uses_what_another_repository_changes_waits(
    says: str, deps: dict[str, tuple[str, ...]], refused: bool
) -> None:
    answered = [planned("T1", ["api/openapi.yaml"]), planned("T2", ["web/a.py"], says), planned("T3", ["web/lib.py"])]
    answered = [replace(each, deps=deps.get(each.id, ())) for each in answered]
    tasks = plan_of(_answer(*answered), goal="g", roles=["implementer"], max_tasks=9).tasks

    assert [problem.split(",")[0] for problem in order_problems(tasks, BOTH)] == (
        ["T2 names `api/openapi.yaml`"] if refused else []
    )
    assert not list(order_problems(tasks, ()))


def _answer(*answered: PlannedTask) -> PlanAnswer:
    return PlanAnswer(summary="", tasks=answered, later=(), risks=(), questions=())


def planned(name: str, paths: list[str], says: str = "") -> PlannedTask:
    return PlannedTask(
        id=name,
        title="Do it",
        description=says,
        role="implementer",
        deps=(),
        paths=tuple(paths),
        acceptance=(),
        effort=1,
        fixes=(),
    )


def test_an_edit_that_leaves_its_repository_is_refused_with_its_line() -> None:
    text = PLAN.format(paths="`api/a.py`, `web/b.py`")
    document = parse(text)
    names = PlanNames(writers=["implementer"], repositories=BOTH)

    with pytest.raises(PlanError, match=r"plan.md:10: paths of T1: `web/b.py` lies in web"):
        check_plan(document, text, "plan.md", document.plan().tasks, names)
    check_plan(document, text, "plan.md", document.plan().tasks, replace(names, repositories=()))


def test_a_result_that_is_not_green_is_put_into_none_of_several() -> None:
    world = started(World(tasks("T1", "T2"), replace(ONE_GATE, repositories=BOTH)))
    for attempt in (1, 2, 3):
        world.send(AttemptFailed(TaskId("T2"), attempt, "no"))

    finish = world.run()

    assert finish.result is Result.NOT_GREEN
    assert world.state.tasks[TaskId("T1")].phase is TaskPhase.MERGED
    assert world.state.landed is None


def test_a_green_result_is_put_into_all_of_several() -> None:
    world = started(World(tasks("T1", "T2"), replace(ONE_GATE, repositories=BOTH)))

    assert world.run().result is Result.GREEN
    assert world.state.landed == world.state.tip


def chained(*parts: tuple[str, str, tuple[str, ...]]) -> dict[TaskId, Task]:
    """Tasks of an id, a repository and what they wait for."""
    return {
        TaskId(name): Task(TaskId(name), name, "", "implementer", paths=(f"{folder}/",), deps=tuple(map(TaskId, deps)))
        for name, folder, deps in parts
    }


@pytest.mark.parametrize(
    ("parts", "order"),
    [
        ((("T1", "web", ()), ("T2", "api", ())), ("web", "api", "docs")),
        ((("T1", "web", ("T2",)), ("T2", "api", ())), ("api", "web", "docs")),
        ((("T1", "docs", ("T2",)), ("T2", "web", ("T3",)), ("T3", "api", ())), ("api", "web", "docs")),
        ((("T1", "web", ()), ("T2", "api", ("T1",)), ("T3", "web", ("T2",))), ("docs", "web", "api")),
    ],
)
def test_a_part_that_others_build_on_is_merged_before_theirs(
    parts: tuple[tuple[str, str, tuple[str, ...]], ...], order: tuple[str, ...]
) -> None:
    assert merge_order(chained(*parts), ("api", "docs", "web")) == order
