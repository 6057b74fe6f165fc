"""Keys that people guess are understood or refused with the right one; a template shows them all with the next free id."""

import pytest

from codexteam.core.budget_text import TaskBudget
from codexteam.core.ids import FindingId, TaskId
from codexteam.core.plan_graph import Acceptance, OwedTests, Plan, Task, TaskRisk, TaskStatus
from codexteam.core.plan_md import Header, new_document, parse, render, update, with_header
from codexteam.core.plan_md_task import render_task
from codexteam.core.plan_md_template import template
from codexteam.errors import PlanError

HEADER = Header("20261121-0231-7f3a", "1a2b3c4d5e", "codexteam/20261121-0231-7f3a")


def _task(*lines: str) -> Task:
    [task] = parse("\n".join(("## Tasks", "- [ ] **T3** One", *lines))).plan().tasks
    return task


def _refused(*lines: str) -> PlanError:
    with pytest.raises(PlanError) as error:
        _task(*lines)
    return error.value


@pytest.mark.parametrize(
    "key",
    ["deps", "dep", "Deps", "depends", "depends on", "Depends on", "depends_on", "dependencies", "needs", "requires"],
)
def test_a_guessed_key_for_what_comes_before_is_understood(key: str) -> None:
    task = _task(f"  - {key}: T1, T2")

    assert (task.deps, task.description) == (("T1", "T2"), "")


@pytest.mark.parametrize("value", ["`T1`, `T2`", "`T1, T2`", "**T1** and **T2**", "[T1, T2]", "t1 t2", "T1; T2"])
def test_ids_may_stand_in_backticks_and_the_like(value: str) -> None:
    assert _task(f"  - after: {value}").deps == ("T1", "T2")
    assert _task(f"  - fixes: {value.replace('T', 'F').replace('t', 'f')}").fixes == ("F1", "F2")


def test_guessed_keys_for_paths_and_acceptance_are_understood() -> None:
    task = _task("  - files: `a.py`", "  - acceptance: it runs: `make`", "  - Acceptance criteria: it is fast")

    assert task.paths == ("a.py",)
    assert task.acceptance == (Acceptance("it runs", "make"), Acceptance("it is fast", None))
    assert "  - paths: `a.py`\n  - accept: it runs: `make`\n" in render(parse("## Tasks\n" + "\n".join(_lines(task))))


def _lines(task: Task) -> list[str]:
    from codexteam.core.plan_md_task import render_task

    return render_task(task)


def test_the_choices_of_a_task_are_read_and_written() -> None:
    task = _task("  - model: `gpt-5.4`", "  - reasoning effort: high", "  - risk: high")

    assert (task.model, task.reasoning, task.risk) == ("gpt-5.4", "high", TaskRisk.HIGH)
    assert _lines(task)[-3:] == ["  - model: gpt-5.4", "  - reasoning: high", "  - risk: high"]
    assert _task("  - risk: normal") == _task()


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ("  - risk: awful", "risk of T3: 'awful' is not one of its words", "allowed: normal, high"),
        ("  - reasoning: hard", "reasoning of T3: 'hard' is not one", "none, minimal, low, medium, high, xhigh"),
        ("  - model: the big one", "model of T3: 'the big one' is not the name of a model", "- model: gpt-5.4"),
    ],
)
def test_a_choice_that_is_none_is_refused_with_what_is_allowed(line: str, words: str, hint: str) -> None:
    error = _refused(line)

    assert words in str(error)
    assert hint in (error.hint or "")


@pytest.mark.parametrize("key", ["test", "check", "verify", "command", "run"])
def test_a_key_that_may_be_a_command_is_refused_with_the_right_one(key: str) -> None:
    error = _refused(f"  - {key}: pytest -q")

    assert str(error) == f"plan.md:3: unknown key '{key}' of T3"
    assert "- accept: what must hold: `" in error.hint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  - role: implementer", "in the task's first line"),
        ("  - effort: 3", "in the task's first line"),
        ("  - acept: x", "did you mean 'accept'?"),
        ("  - dependancies: T1", "did you mean 'after'?"),
    ],
)
def test_another_key_is_refused_with_where_it_belongs(line: str, words: str) -> None:
    assert words in _refused(line).hint


@pytest.mark.parametrize(
    "line",
    [
        *(
            "  * deps: T1",
            "  deps: T1",
            "  Depends on: T1",
            "  Depends on `T1`:",
            "- depends on: T1",
            "  - depends on T1",
        ),
        *(
            "  - **depends on**: T1",
            "    - deps: T1",
            "  - deps = T1",
            "  - needs `T1`",
            "  Files: `a.py`",
            "* Tests: `x`",
        ),
    ],
)
def test_a_guessed_key_in_another_form_is_no_words(line: str) -> None:
    if line.endswith(":"):
        assert _task(line).description, "words that say nothing"
        return
    assert "this looks like " in str(_refused(line))


def test_a_wrong_id_is_refused_with_its_line() -> None:
    assert str(_refused("  - after: none")) == "plan.md:3: after of T3: 'none' is not an id"
    assert _refused("  - after: none").hint == "leave the line out where there is none"
    assert _refused("  - deps: loader").hint.startswith("ids look like T1, T2")


@pytest.mark.parametrize(
    "line", ["Tests: all of them", "Needs: a database", "- the file: see above", "- note: ask Ana"]
)
def test_words_of_a_description_stay_words(line: str) -> None:
    assert _task(f"  {line}").description == line


def test_a_capital_x_marks_a_task_as_done() -> None:
    assert parse("## Tasks\n- [X] **T1** One\n").plan().tasks[0].status is TaskStatus.DONE


def test_the_template_has_every_key_and_the_next_free_id() -> None:
    plan = Plan("x", tasks=(Task(TaskId("T1"), "One"), Task(TaskId("T7"), "Two", status=TaskStatus.DROPPED)))
    text = render(new_document(plan, HEADER))

    assert "\n".join(template(8)) in text
    assert [task.id for task in parse(text).plan().tasks] == ["T1", "T7"]
    newer = Plan("x", tasks=(*plan.tasks, Task(TaskId("T8"), "Three")))
    shown = render(update(parse(text), newer, HEADER))
    assert "\n".join(template(9)) in shown
    assert shown.count("Title of the task") == 1


def test_the_template_without_its_comment_is_a_task_with_every_key() -> None:
    task = parse("## Tasks\n" + "\n".join(template(2)[1:-5])).plan().tasks[0]

    assert task == Task(
        TaskId("T2"),
        "Title of the task",
        task.description,
        "implementer",
        (TaskId("T1"),),
        ("src/one.py", "tests/"),
        (Acceptance("what must hold in the end", "a command that exits with 0"),),
        1,
        (FindingId("F1"),),
        budget=TaskBudget(share_percent=25.0),
        priority=1,
        model="gpt-5.4",
        reasoning="high",
        risk=TaskRisk.HIGH,
        tests=OwedTests.REQUIRED,
    )
    assert task.description


@pytest.mark.parametrize("word", list(OwedTests))
def test_what_a_task_owes_in_tests_is_read_and_written(word: OwedTests) -> None:
    text = f"- [ ] **T1** One `implementer` (effort 1)\n  - tests: {word.value}"
    task = parse(f"## Tasks\n{text}\n").plan().tasks[0]

    assert (task.tests, render_task(task)) == (word, text.split("\n"))


@pytest.mark.parametrize("value", ["yes", "`pytest -q`", ""])
def test_other_words_for_tests_are_refused_with_those_allowed(value: str) -> None:
    with pytest.raises(PlanError, match=r"plan\.md:3: tests of T1: .*") as caught:
        parse(f"## Tasks\n- [ ] **T1** One\n  - tests: {value}\n")
    assert "required" in str(caught.value.hint)
    assert "- accept: what must hold" in str(caught.value.hint)


def test_a_removed_template_stays_out_and_a_users_file_gets_one() -> None:
    text = "# Mine\n\n## Tasks\n\n- [ ] **T4** One\n"
    with_one = render(update(with_header(parse(text), HEADER), parse(text).plan(), HEADER))
    assert "T5 is the next free id" in with_one
    assert "Title" not in render(update(parse(text), parse(text).plan(), HEADER))


def test_a_task_in_a_comment_is_none_and_its_id_is_not_free() -> None:
    text = (
        f"{HEADER.render()}\n## Tasks\n- [ ] **T1** One\n\n<!-- later:\n- [ ] **T9** Nine\n## Later\n-->\n"
        + "\n".join(template(1))
    )
    plan = parse(text).plan()

    assert [task.id for task in plan.tasks] == ["T1"]
    shown = render(update(parse(text), plan, HEADER))
    assert "<!-- later:\n- [ ] **T9** Nine\n## Later\n-->" in shown
    assert "T10 is the next free id" in shown


def test_a_task_written_into_the_template_is_not_lost() -> None:
    text = "## Tasks\n\n" + "\n".join(template(1)).replace("Title of the task", "Do it")
    with pytest.raises(PlanError, match="plan.md:4: T1 is inside the comment"):
        parse(text)


def test_a_comment_without_an_end_is_refused() -> None:
    with pytest.raises(PlanError, match="plan.md:2: this comment is never closed"):
        parse("## Tasks\n<!-- later\n- [ ] **T1** One\n")
