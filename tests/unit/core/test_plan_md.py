from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.core.budget_text import TaskBudget
from codexteam.core.ids import FindingId, TaskId
from codexteam.core.plan_check import check_graph
from codexteam.core.plan_graph import Acceptance, Plan, Task, TaskStatus
from codexteam.core.plan_md import Header, Raw, is_ours, new_document, normal_plan, parse, render, update
from codexteam.core.plan_md_template import template
from codexteam.errors import PlanError
from tests.examples import examples

HEADER = Header("20261121-0231-7f3a", "1a2b3c4d5e", "codexteam/20261121-0231-7f3a")

EXAMPLE = """\
# Plan: Add CSV import

<!-- codexteam run 20261121-0231-7f3a · base 1a2b3c4 · branch codexteam/20261121-0231-7f3a -->

## Goal

Add CSV import with schema validation and a Markdown report.

## Tasks

- [ ] **T1** Read and validate the CSV `implementer` (effort 2)
  Reads a UTF-8 file, reports the first bad row.
  - paths: `src/load.py`, `tests/test_load.py`
  - accept: a bad row is reported with its number: `pytest -q tests/test_load.py`
- [ ] **T2** Write the report `implementer` (effort 1)
  - after: T1
  - paths: `src/report.py`
  - accept: the report lists every column

## Later

- Excel files

## Done

## Next

## Risks
"""


def test_the_file_of_the_design_is_read_and_written_as_it_stands() -> None:
    document = parse(EXAMPLE)

    assert render(document) == EXAMPLE
    assert document.plan() == Plan(
        goal="Add CSV import with schema validation and a Markdown report.",
        tasks=(
            Task(
                TaskId("T1"),
                "Read and validate the CSV",
                "Reads a UTF-8 file, reports the first bad row.",
                paths=("src/load.py", "tests/test_load.py"),
                acceptance=(Acceptance("a bad row is reported with its number", "pytest -q tests/test_load.py"),),
                effort=2,
            ),
            Task(
                TaskId("T2"),
                "Write the report",
                deps=(TaskId("T1"),),
                paths=("src/report.py",),
                acceptance=(Acceptance("the report lists every column", None),),
            ),
        ),
        later=("Excel files",),
    )


def test_a_fresh_document_is_the_file_of_the_design() -> None:
    plan = replace(parse(EXAMPLE).plan(), goal="Add CSV import")

    text = render(new_document(plan, HEADER))

    expected = EXAMPLE.replace("Add CSV import with schema validation and a Markdown report.", "Add CSV import")
    shown = "\n".join(template(3))
    assert text == expected.replace("\n## Later", f"\n{shown}\n\n## Later")
    assert is_ours(text)


def test_a_command_that_prints_the_marker_makes_a_file_no_ours() -> None:
    foreign = "## Tasks\n\n- [ ] **T1** Print it\n  - accept: it is said:\n    ```\n<!-- codexteam run \n    ```\n"

    assert not is_ours(foreign)
    assert is_ours(foreign + "\n## Notes\n\n" + HEADER.render())
    assert is_ours(HEADER.render() + "\n- [?] **T1**\n"), "also in the middle of an edit"


def test_a_user_s_own_text_stays_where_it_was() -> None:
    edited = EXAMPLE.replace("- [ ] **T2**", "Talk to Ana before this one!\n\n- [ ] **T2**")
    edited = edited.replace("## Later", "## Notes\n\n1. mine\n\n```\n## no heading\n```\n\n## Later\n\nSome day:")
    document = parse(edited)
    done = replace(document.plan().tasks[0], status=TaskStatus.DONE)
    new = Task(TaskId("T3"), "A third")

    text = render(update(document, Plan("x", tasks=(done, new), later=("Excel files", "PDF")), HEADER))

    assert "- [x] **T1** Read" in text
    assert text.index("Talk to Ana") < text.index("**T2**") < text.index("**T3** A third")
    assert "## Notes\n\n1. mine\n\n```\n## no heading\n```" in text
    assert "- Excel files\n- PDF\n\nSome day:" in text
    assert "Add CSV import with schema validation" in text, "the goal is the user's"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("- [ ] **T2**", "- [?] **T2**", "plan.md:15: mark '?' of T2", id="mark"),
        pytest.param("- [ ] **T2**", "- [ ] T2", "plan.md:15: cannot read this task: - [ ] T2", id="no bold id"),
        pytest.param("**T2**", "**T1**", "plan.md:15: task T1 is there twice, first in line 11", id="duplicate"),
        pytest.param("(effort 1)", "(effort 9)", "plan.md:15: effort '9' of T2: 1 to 5", id="effort"),
        pytest.param("- after: T1", "- after: one", "plan.md:16: after of T2: 'one' is not an id", id="dep"),
        pytest.param("- after: T1", "- aftr: T1", "plan.md:16: unknown key 'aftr' of T2", id="typo"),
        pytest.param("`src/report.py`", "src/report.py", "plan.md:17: paths of T2", id="no backticks"),
        pytest.param("## Tasks", "## Work", "no `## Tasks` section", id="no section"),
        pytest.param("Write the report ", "", "plan.md:15: task T2 has no title", id="no title"),
    ],
)
def test_an_edit_that_cannot_be_read_is_one_error_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(PlanError) as error:
        parse(EXAMPLE.replace(old, new))

    assert message in str(error.value)


def test_controls_that_a_terminal_would_obey_are_escaped() -> None:
    evil = "a\x1b]52;c;eA==\x07\u202e"
    task = Task(TaskId("T1"), evil, evil, paths=(evil,), acceptance=(Acceptance(evil, f"echo {evil}"),))
    plan = Plan(evil, tasks=(task,), later=(evil,), risks=(evil,))

    text = render(new_document(plan, HEADER))

    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert parse(text).plan() == normal_plan(plan)


def test_new_tasks_come_after_the_words_below_a_heading_without_tasks() -> None:
    text = render(update(parse("## Tasks\n  indented words\n"), Plan("x", tasks=(Task(TaskId("T1"), "One"),)), HEADER))

    assert parse(text).plan().tasks == (Task(TaskId("T1"), "One"),)
    assert "  indented words\n" in text


def test_a_goal_that_opens_a_code_block_ends_at_the_next_heading() -> None:
    document = parse("## Goal\n```sh\nmake\n## Tasks\n- [ ] **T1** Make it\n## Later\n- more\n")

    assert document.plan().goal == "```sh\nmake"
    assert [task.id for task in document.plan().tasks] == ["T1"]
    assert document.items("later") == ("more",)


words = st.text(alphabet=st.sampled_from("ab `-*#[]():\\,T1\n\té中\u2028|~x"), max_size=30)
name = st.integers(1, 10_000).map(lambda n: TaskId(f"T{n}"))


budgets = st.builds(
    TaskBudget,
    share_percent=st.none() | st.integers(0, 1_000).map(lambda tenths: tenths / 10),
    tokens=st.none() | st.integers(0, 10**12),
    usd=st.none() | st.integers(0, 10**8).map(lambda parts: parts / 10_000),
    credits=st.none() | st.integers(0, 10**8).map(lambda parts: parts / 10_000),
).filter(lambda budget: bool(budget.words))


def task_of(task_id: TaskId) -> st.SearchStrategy[Task]:
    return st.builds(
        Task,
        id=st.just(task_id),
        title=words,
        description=words,
        role=st.sampled_from(["implementer", "documentation", "my role"]),
        deps=st.lists(name, max_size=3).map(tuple),
        paths=st.lists(words, max_size=3).map(tuple),
        acceptance=st.lists(st.builds(Acceptance, criterion=words, command=st.none() | words), max_size=3).map(tuple),
        effort=st.integers(1, 5),
        fixes=st.lists(st.integers(1, 99).map(lambda n: FindingId(f"F{n}")), max_size=2).map(tuple),
        status=st.sampled_from(list(TaskStatus)),
        budget=st.none() | budgets,
    )


plans = st.builds(
    Plan,
    goal=words,
    tasks=st.sets(name, max_size=4).flatmap(lambda ids: st.tuples(*(task_of(i) for i in sorted(ids)))),
    later=st.lists(words, max_size=3).map(tuple),
    risks=st.lists(words, max_size=3).map(tuple),
)


@settings(max_examples=examples(400), deadline=None)
@given(plans)
def test_any_plan_comes_back_as_it_was(plan: Plan) -> None:
    document = new_document(plan, HEADER)
    text = render(document)

    again = parse(text)

    assert again.plan() == normal_plan(plan)
    assert render(again) == text


free = st.lists(
    st.text(alphabet="abc #*>`-", min_size=1, max_size=12).filter(
        lambda line: line.strip() and not line.startswith(("## ", "- [", "* [", "  ", "- ")) and "```" not in line
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=examples(200), deadline=None)
@given(plans, free, st.integers(0, 30), plans)
def test_any_text_of_a_user_around_a_plan_survives_an_update(
    plan: Plan, lines: list[str], at: int, newer: Plan
) -> None:
    nodes = list(new_document(plan, HEADER).nodes)
    at = 2 + at % (len(nodes) - 1)
    nodes.insert(max(at, 3), Raw(tuple(lines)))
    document = parse(render(type(new_document(plan, HEADER))(tuple(nodes))))

    text = render(update(document, newer, HEADER))

    for line in lines:
        assert line.rstrip() in text
    assert set(parse(text).plan().tasks) >= set(normal_plan(newer).tasks)


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet=st.sampled_from("- [] **T1** `x`:\n#\\after paths\u0000\ufeff"), max_size=200))
def test_any_text_below_tasks_is_read_or_refused_with_a_line(text: str) -> None:
    def outcome(text: str) -> Plan | str:
        try:
            return parse(text).plan()
        except PlanError as error:
            return str(error)

    result = outcome("## Tasks\n" + text)

    if isinstance(result, str):
        assert result.startswith("plan.md:")
    else:
        assert outcome(render(parse("## Tasks\n" + text))) == result


def test_a_task_that_does_not_hold_together_is_named_with_its_line() -> None:
    text = "# Plan: x\n\n## Goal\n\nx\n\n## Tasks\n\n- [ ] **T1** A\n  - after: T2\n- [ ] **T2** B\n  - after: T1\n"
    document = parse(text)

    with pytest.raises(PlanError) as raised:
        check_graph(document, "plan.md", document.plan().tasks)

    assert str(raised.value) == "plan.md:9: these tasks wait for each other: T1 -> T2 -> T1"
