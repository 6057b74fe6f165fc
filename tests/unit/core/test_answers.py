import pytest

from codexteam.core.answers import PlanAnswer, PlannedTask, ReportedFinding
from codexteam.core.codec import decode
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import FindingId, GateName, JSONObject, TaskId
from codexteam.core.plan_answer import findings_of, plan_of
from codexteam.core.plan_graph import Acceptance, Task
from codexteam.errors import PlanError

ROLES = {"implementer", "documentation"}


def task(**changes: object) -> JSONObject:
    good: JSONObject = {
        "id": "T1",
        "title": "Load\nit",
        "description": " text ",
        "role": "implementer",
        "deps": [],
        "paths": ["src/a.py", " "],
        "acceptance": [{"criterion": "works", "command": "pytest -q"}, {"criterion": "reads well", "command": None}],
        "effort": 2,
        "fixes": ["F1"],
    }
    return {**good, **changes}  # type: ignore[dict-item]  # tests give JSON


def answer(*tasks: JSONObject, questions: tuple[str, ...] = ()) -> PlanAnswer:
    planned = tuple(decode(PlannedTask, task, "task") for task in tasks)
    return PlanAnswer("s", planned, later=("l",), risks=(), questions=questions)


def test_an_answer_becomes_a_plan() -> None:
    plan = plan_of(answer(task()), goal="g", roles=ROLES, max_tasks=9)

    assert (plan.goal, plan.summary, plan.later) == ("g", "s", ("l",))
    assert plan.tasks == (
        Task(
            TaskId("T1"),
            "Load it",
            "text",
            paths=("src/a.py",),
            acceptance=(Acceptance("works", "pytest -q"), Acceptance("reads well", None)),
            effort=2,
            fixes=(FindingId("F1"),),
        ),
    )


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        pytest.param([task(deps=["T1"])], "T1 waits for itself", id="itself"),
        pytest.param([task(deps=["T2"]), task(id="T2", deps=["T1"])], "T1 -> T2 -> T1", id="cycle"),
        pytest.param([task(deps=["T9"])], "T1 waits for T9, which is not in the plan", id="unknown dep"),
        pytest.param([task(), task()], "T1 is there twice", id="duplicate"),
        pytest.param(
            [task(role="reviewer")], "role 'reviewer' does not write code here; one of documentation", id="role"
        ),
        pytest.param([task(id="one")], "'one' is not an id", id="id"),
        pytest.param([task(paths=["../x"])], "path '../x' leaves the repository", id="path"),
        pytest.param([task(paths=["/etc/x"])], "leaves the repository", id="absolute"),
        pytest.param([task(title=" ")], "it has no title", id="title"),
        pytest.param([task(effort=9)], "effort 9", id="effort"),
        pytest.param([], "there are no tasks", id="empty"),
        pytest.param([task(id="T7")], "T7: this id is taken", id="taken"),
        pytest.param([task(id=f"T{n}") for n in range(10, 20)], "at most 5", id="too many"),
    ],
)
def test_what_does_not_hold_is_said(tasks: list[JSONObject], problem: str) -> None:
    known = (Task(TaskId("T7"), "old"),)

    with pytest.raises(PlanError) as error:
        plan_of(answer(*tasks), goal="g", roles=ROLES, known=known, max_tasks=5)

    assert problem in str(error.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    bad = answer(task(role="x", effort=0), task(id="T2", title=""))

    with pytest.raises(PlanError) as error:
        plan_of(bad, goal="g", roles=ROLES, max_tasks=5)

    assert str(error.value).count("\n- ") == 3


def test_a_plan_of_questions_alone_is_one() -> None:
    assert plan_of(answer(questions=("which?",)), goal="g", roles=ROLES, max_tasks=5).questions == ("which?",)


def test_findings_are_read_from_an_answer() -> None:
    reported = ReportedFinding("Off by\none", "d", Severity.MUST_FIX, Category.CORRECTNESS, "a.py", 3, None, ("a.py",))

    assert findings_of([reported], GateName.REVIEW) == (
        Finding(
            "Off by one", "d", Severity.MUST_FIX, Category.CORRECTNESS, "a.py", 3, None, ("a.py",), GateName.REVIEW
        ),
    )
