"""What is guarded is opened by people and their settings; a plan or a finding that names it waits for one."""

from dataclasses import replace

import pytest

from codexteam.core.answers import ReportedFinding
from codexteam.core.effects import Result, RunGate, Work
from codexteam.core.events import (
    Answered,
    Continued,
    Event,
    GateFinished,
    PlanEdited,
    Planned,
    Replanned,
    RunStarted,
    Verdict,
)
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import FindingId, GateName, TaskId
from codexteam.core.paths import closed_among, guarded_among
from codexteam.core.plan_answer import findings_of
from codexteam.core.plan_graph import Plan, Task
from codexteam.core.state import Rules, TaskPhase
from tests.unit.core.run_world import World

_RULES = Rules(gates=(GateName.CI,), scout=False, document=False, release=False)
T1 = TaskId("T1")
T2 = TaskId("T2")
_NAMED = ".github/workflows/ci.yml"


class _Planning(World):
    """The orchestrator's plan is `tasks`; what fixes a finding is as in `fix`."""

    fix: tuple[Task, ...] = ()

    def answer(self, effect: object) -> Event:
        if isinstance(effect, RunGate) and effect.round == 1 and self.fix:
            finding = Finding("CI is wrong", "d", Severity.MUST_FIX, Category.CI, file=_NAMED, paths=(_NAMED,))
            return GateFinished(1, effect.gate, effect.commit, Verdict.BLOCK, (finding,))
        event = super().answer(effect)  # type: ignore[arg-type]  # as given
        return Replanned(event.round, Plan("goal", tasks=self.fix)) if isinstance(event, Replanned) else event


def _planned(*paths: str, rules: Rules = _RULES) -> _Planning:
    return _Planning((Task(T1, "Change CI", paths=paths), Task(T2, "Other", paths=("src/x.py",))), rules)


def _worked(world: World) -> set[str]:
    return {str(effect.task_id) for effect in world.effects if isinstance(effect, Work)}


@pytest.mark.parametrize(
    "path",
    [
        ".codex/config.toml",
        _NAMED,
        ".github/workflows/",
        ".github/workflows/*.yml",
        "./.mcp.json",
        "sub//.MCP.json",
        "AGENTS.md",
        "a/b/AGENTS.md",
        "**/AGENTS.md",
    ],
)
def test_a_guarded_plan_waits_for_a_person_and_its_other_tasks_do_not(path: str) -> None:
    world = _planned(path, "src/y.py")

    finish = world.run()

    assert finish.result is Result.WAITING
    assert list(world.state.holds) == ["guarded.T1"]
    assert path in world.state.holds["guarded.T1"].question
    assert _worked(world) == {"T2"}


def test_what_a_person_opens_is_granted_to_that_task_alone() -> None:
    world = _planned(_NAMED)
    world.run()

    finish = world.go_on(person=lambda item: Answered(item, ""))

    assert finish.result is Result.GREEN
    assert world.state.tasks[T1].granted == (_NAMED,)
    assert world.state.tasks[T2].granted == ()


def test_a_task_does_without_what_a_person_does_not_open() -> None:
    world = _planned(_NAMED, "src/y.py")
    world.run()

    world.go_on(person=lambda item: Answered(item, "use the Makefile", approved=False))

    known = world.state.tasks[T1]
    assert (known.phase, known.task.paths, known.granted) == (TaskPhase.MERGED, ("src/y.py",), ())
    assert "use the Makefile" in known.evidence


def test_a_task_with_only_unopened_paths_fails() -> None:
    world = _planned(_NAMED)
    world.run()

    finish = world.go_on(person=lambda item: Answered(item, "", approved=False))

    assert finish.result is Result.NOT_GREEN
    assert world.state.tasks[T1].phase is TaskPhase.FAILED


@pytest.mark.parametrize("glob", [_NAMED, ".github/workflows/*.yml", ".github/**", "**"])
def test_the_settings_open_paths_for_every_task(glob: str) -> None:
    world = _planned(_NAMED, rules=replace(_RULES, allow_guarded=(glob,)))

    assert world.run().result is Result.GREEN


def test_a_run_that_goes_on_with_other_settings_takes_its_question_back() -> None:
    world = _planned(_NAMED)
    world.run()
    world.finished = None

    world.send(Continued(replace(_RULES, allow_guarded=(_NAMED,))))

    assert not world.state.holds
    assert world.run().result is Result.GREEN


def test_what_a_user_guards_beside_the_rest_waits_too() -> None:
    world = _planned("deploy/prod.yml", rules=replace(_RULES, guarded=("deploy/",)))

    assert world.run().result is Result.WAITING
    assert list(world.state.holds) == ["guarded.T1"]


def test_a_wider_glob_opens_nothing_and_asks_nothing() -> None:
    assert guarded_among(("**", "src", "src/**", "*")) == ()
    assert guarded_among((".github", ".gitlab")) == (".github", ".gitlab")
    assert closed_among((_NAMED,), ("**",), _RULES) == (_NAMED,)
    assert closed_among((_NAMED,), (".github/workflows/",), _RULES) == ()


@pytest.mark.parametrize("fix", [(), (Task(TaskId("T3"), "Fix CI", paths=(_NAMED,), fixes=(FindingId("F1"),)),)])
def test_a_finding_that_names_what_is_guarded_opens_nothing(fix: tuple[Task, ...]) -> None:
    world = _planned("src/y.py")
    world.fix = fix or (Task(TaskId("T3"), "", paths=("x",)),)

    finish = world.run()

    assert finish.result is Result.WAITING
    [item] = world.state.holds
    assert item.startswith("guarded.")
    assert world.state.tasks[TaskId(item.removeprefix("guarded."))].from_findings


def test_a_plan_that_a_person_wrote_opens_what_it_names() -> None:
    world = _planned(_NAMED)
    world.send(Planned(Plan("goal", tasks=world.tasks), by_person=True))
    world.send(RunStarted())

    assert world.run().result is Result.GREEN


def test_what_a_person_adds_to_the_plan_is_opened_and_a_models_text_is_not() -> None:
    world = _planned(_NAMED)
    world.run()
    tasks = [known.task for known in world.state.tasks.values()]
    retitled = replace(tasks[0], title="Change CI, please")

    world.send(PlanEdited(Plan("goal", tasks=(retitled, tasks[1]))))
    assert list(world.state.holds) == ["guarded.T1"]

    more = replace(retitled, paths=(*retitled.paths, ".mcp.json"))
    world.send(PlanEdited(Plan("goal", tasks=(more, tasks[1]))))
    assert world.state.tasks[T1].granted == (".mcp.json",)

    other = replace(retitled, paths=(".mcp.json",))
    world.send(PlanEdited(Plan("goal", tasks=(other, tasks[1]))))
    world.finished = None
    if world.state.result is not None:
        world.send(Continued())
    assert world.run().result is Result.GREEN


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "~/x", "a\\..\\x", ".git/hooks/x", "a\u202eb"])
def test_paths_in_findings_are_held_to_the_rules_of_paths_in_plans(path: str) -> None:
    reported = ReportedFinding("t", "d", Severity.MUST_FIX, Category.CI, path, 1, None, (path, "src/x.py"))

    [finding] = findings_of([reported], GateName.REVIEW)

    assert (finding.file, finding.paths) == (None, ("src/x.py",))
    assert "Left out of its paths" in finding.detail
