"""An edit that nearly says a task, a field, a path or a command is refused with its line, never read as words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from codexteam.core.plan_md import (
    Header,
    PlanDocument,
    is_ours,
    new_document,
    normal_plan,
    parse,
    render,
    run_named_in,
    taken_over,
    with_header,
)
from codexteam.errors import PlanError
from tests.examples import examples

HEADER = Header("20261121-0231-7f3a", "1a2b3c4d5e", "codexteam/20261121-0231-7f3a")


def _task(*lines: str) -> Task:
    [task] = parse("\n".join(("## Tasks", "- [ ] **T1** One", *lines))).plan().tasks
    return task


def _refused(text: str) -> PlanError:
    with pytest.raises(PlanError) as error:
        parse(text)
    return error.value


@pytest.mark.parametrize(
    ("lines", "acceptance"),
    [
        (["- accept: `pytest -q`"], Acceptance("pytest -q", "pytest -q")),
        (["- accept: ``echo `date` ``"], Acceptance("echo `date`", "echo `date` ")),
        (["- accept: tests pass: `pytest -q`"], Acceptance("tests pass", "pytest -q")),
        (["- accept: tests pass:", "  ```sh", "  make", "  ```"], Acceptance("tests pass", "make")),
        (["- accept:", "  ```", "  make", "  make check", "  ```"], Acceptance("make make check", "make\nmake check")),
        (["- accept: `--foo` is in the help"], Acceptance("`--foo` is in the help", None)),
        (["- accept: it is in `out.csv`\\"], Acceptance("it is in `out.csv`", None)),
        (["- accept: the help names `--foo`."], Acceptance("the help names `--foo`.", None)),
    ],
)
def test_a_command_is_read_alone_after_a_colon_or_in_a_block(lines: list[str], acceptance: Acceptance) -> None:
    task = _task(*(f"  {line}" for line in lines))

    assert task.acceptance == (acceptance,)
    assert task.description == ""


@pytest.mark.parametrize(
    "lines",
    [
        ["- accept: tests pass `pytest -q`"],
        ["- accept: tests pass: `pytest -q`."],
        ["- accept: tests pass: `pytest -q` ;"],
        ["- accept: tests pass: pytest -q`"],
        ["- accept: tests pass: ``pytest -q`"],
        ["- accept: tests pass: ` `"],
        ["- accept: tests pass:"],
        ["- accept: tests pass:", "```", "make", "```"],
        ["- accept: tests pass:", "", "  ```", "  make", "  ```"],
        ["- accept: tests pass:", "  ```", "  ```"],
        ["- accept:"],
        ["- accept:", "  - tests pass: `pytest -q`"],
    ],
)
def test_what_may_be_meant_as_a_command_is_no_words(lines: list[str]) -> None:
    error = _refused("\n".join(("## Tasks", "- [ ] **T1** One", *(f"  {line}" for line in lines))))

    assert str(error).startswith("plan.md:3: accept of T1: ")
    assert "accept: what must hold" in error.hint or "backslash" in error.hint


def test_a_block_without_an_end_takes_in_no_other_task() -> None:
    block = "  - accept: x:\n    ```\n    make\n"
    error = _refused(f"## Tasks\n- [ ] **T1** One\n{block}- [ ] **T2** Two\n{block}    ```\n")

    assert str(error) == "plan.md:4: this ``` is never closed"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("`src/a.py`, tests/b.py", "'tests/b.py' is not in backticks"),
        ("tests/b.py `src/a.py`", "'tests/b.py' is not in backticks"),
        ("`src/a.py` and `b.py`", "'and' is not in backticks"),
        ("`src/a.py`, `b.py", "'`b.py' is not in backticks"),
        ("src/a.py, tests/b.py", "'src/a.py, tests/b.py'"),
        ("`src/a.py`, ` `", "'`src/a.py`, ` `'"),
        ("", "''"),
    ],
)
def test_a_path_outside_of_backticks_is_not_left_out(value: str, found: str) -> None:
    error = _refused(f"## Tasks\n- [ ] **T1** One\n  - paths: {value}\n")

    assert str(error) == f"plan.md:3: paths of T1: {found}"
    assert error.hint == "put each path in backticks: - paths: `src/a.py`, `tests/`"


def test_paths_stand_with_commas_or_blanks_between() -> None:
    assert _task("  - paths: `a b.py` `c.py`,`` d`e ``,").paths == ("a b.py", "c.py", "d`e")


@pytest.mark.parametrize("form", ["after", "fixes"])
def test_a_field_without_a_value_is_refused(form: str) -> None:
    assert str(_refused(f"## Tasks\n- [ ] **T1** One\n  - {form}: \n    - T2\n")).startswith(f"plan.md:3: {form} of T1")


@pytest.mark.parametrize("value", ["after: T2", "accept: x: `false`", "paths: `a`", "fixes: F1"])
@pytest.mark.parametrize(
    "form",
    [
        *("    - {}", "   - {}", " - {}", "- {}", "\t- {}", "  \t- {}", "  * {}", "  + {}", "  1. {}", "  2) {}"),
        *("  \u2022 {}", "  \u2013 {}", "  -{}", "  -  {}", "  -\u00a0{}", "  - [ ] {}", "  {}", "{}", "\n* {}"),
    ],
)
def test_a_field_in_another_form_is_no_words(form: str, value: str) -> None:
    key = value.partition(":")[0]
    error = _refused("## Tasks\n- [ ] **T1** One\n" + form.format(value) + "\n- [ ] **T2** Two\n")

    line = 3 + form.count("\n")
    assert str(error).startswith(f"plan.md:{line}: this looks like {key!r} of T1, but is not written so: ")
    assert error.hint.startswith(
        f"a field is `- {key}: ...`, indented by two spaces; as words it begins with a backslash: \\"
    )


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("  - Accept: x: `false`", "accept"),
        ("  - ACCEPT: x", "accept"),
        ("  - accept : x", "accept"),
        ("  - **accept**: x", "accept"),
        ("  - **accept:** x", "accept"),
        ("  - `paths`: x", "paths"),
        ("  - After: T2", "after"),
        ("  - after T2, T3", "after"),
        ("  - after = T2", "after"),
        ("  - accept\uff1a x", "accept"),
    ],
)
def test_a_key_in_another_form_is_no_words(line: str, key: str) -> None:
    assert f"plan.md:3: this looks like {key!r} of T1" in str(_refused(f"## Tasks\n- [ ] **T1** One\n{line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        *("+ [ ] **T9** Nine", "  - [ ] **T9** Nine", "-  [ ] **T9** Nine", "- [] **T9** Nine", "1. **T9** Nine"),
        *("* [ ] **T9** Nine", "1. [ ] **T9** Nine", "\t- [ ] **T9** Nine", " - [ ] **T9** Nine", "-[ ] **T9** Nine"),
        *("- **T9** Nine", "[ ] **T9** Nine", "- [ ] T9 Nine", "- [ ]  **T9** Nine", "- [ ] **T9**: Nine"),
        *("  * [x] T9 Nine", "    - [ ] **T9** Nine", "\u2022 [ ] **T9** Nine", "- [ ] **t9** Nine", "+ [ ] Nine"),
    ],
)
@pytest.mark.parametrize("above", ["- [ ] **T1** One\n", "", "Mine.\n\n"])
def test_a_task_in_another_form_is_no_words(above: str, line: str) -> None:
    error = _refused(f"## Tasks\n{above}{line}\n")

    assert str(error).startswith(f"plan.md:{2 + above.count(chr(10))}: cannot read this task: ")
    assert "a task is `- [ ] **T7** title`" in error.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("## Tasks\n- [ ] **T1** One `qa`(effort 2)\n", "plan.md:2: cannot read the effort of T1: One `qa`(effort 2)"),
        ("## Tasks\n- [ ] **T1** One (Effort: 2)\n", "plan.md:2: cannot read the effort of T1: One (Effort: 2)"),
        ("## Tasks\n- [ ] **T1** One\n\tmore words\n", "plan.md:3: is this a line of T1? more words"),
        (
            "## Tasks\n- [ ] **T1** One\n  - accept: the list\n    is `x`\n",
            "plan.md:4: this line continues from the accept of T1",
        ),
        (
            "## Tasks\n- [ ] **T1** One\n  - paths: `a`,\n    `b`\n",
            "plan.md:4: this line continues from the paths of T1",
        ),
        ("## Tasks\n## Phase 2\n- [ ] **T1** One\n", "plan.md:3: this task does not stand below `## Tasks`"),
        ("# Plan\n- [ ] **T1** One\n## Tasks\n", "plan.md:2: this task does not stand below `## Tasks`"),
        ("## Tasks\n## Notes\n```\n## Later\n- x\n", "plan.md:3: this code block is never closed"),
    ],
)
def test_what_would_be_lost_without_a_word_is_refused(text: str, message: str) -> None:
    assert str(_refused(text)).startswith(message)


WORDS = """\
# Plan: mine

- After: lunch
- [ ] buy milk
* **bold** words

## Tasks

Accept: what Ana says, after T1.

* Paths: see the wiki
1. first things first

- [ ] **T1** One
  Runs after T2 has been merged. **T2** gives the loader.
  After: the import is twice as fast.
  Accept: application/json
  paths:
  - before: slow
  * a list
  - [ ] and a box
  1. of numbers
  \\* accept: a word
  \\- [ ] **T9** no task

Ana says: `accept: x` is a field. **T1** is hers.

- a list
* another

```
text
```

## Notes

```
- [ ] **T9** an example
```

```code``` on one line

## Later

- [ ] **T4** put off
- accept: later
"""


def test_words_stay_words() -> None:
    plan = parse(WORDS).plan()

    assert [task.id for task in plan.tasks] == ["T1"]
    assert plan.tasks[0].description.splitlines()[0] == "Runs after T2 has been merged. **T2** gives the loader."
    assert plan.tasks[0].description.splitlines()[-2:] == ["* accept: a word", "- [ ] **T9** no task"]
    assert (plan.tasks[0].deps, plan.tasks[0].acceptance) == ((), ())
    assert plan.later == ("[ ] **T4** put off", "accept: later")
    assert parse(render(parse(WORDS))).plan() == plan


near = st.lists(
    st.sampled_from(
        [
            *(
                "accept",
                "Accept",
                "after",
                "paths",
                "fixes",
                ":",
                " :",
                ": ",
                "`",
                "``",
                "x",
                ".",
                "T2",
                "F1",
                "**",
                "T9",
                "\\",
            ),
            *(
                "- ",
                "* ",
                "+ ",
                "1. ",
                "-",
                "[ ] ",
                "[x]",
                " ",
                "    ",
                "\t",
                "\n",
                "\u2022 ",
                "\u00a0",
                "```",
                "(effort 2)",
            ),
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=examples(400), deadline=None)
@given(near, near, near, st.none() | near)
def test_what_a_planner_says_is_never_refused(
    title: str, description: str, criterion: str, command: str | None
) -> None:
    acceptance = (Acceptance(criterion, command), Acceptance(description, None))
    task = Task(TaskId("T1"), title, description, paths=(title, criterion), acceptance=acceptance)
    plan = Plan(description, tasks=(task, Task(TaskId("T2"), "Two")), later=(criterion,), risks=(title,))

    text = render(new_document(plan, HEADER))

    assert parse(text).plan() == normal_plan(plan)
    assert render(parse(text)) == text


@settings(max_examples=examples(300), deadline=None)
@given(near, st.booleans())
def test_a_users_text_is_read_as_written_back_or_refused_with_its_line(text: str, below: bool) -> None:
    whole = "## Tasks\n" + ("- [ ] **T1** One\n" if below else "") + text + "\n- [ ] **T3** Three\n"
    document = _read(whole)
    if isinstance(document, str):
        assert document.startswith("plan.md:")
    else:
        assert normal_plan(parse(render(document)).plan()) == normal_plan(document.plan())


def _read(text: str) -> PlanDocument | str:
    try:
        return parse(text)
    except PlanError as error:
        return str(error)


def test_a_plan_of_a_user_becomes_a_run_s_with_all_its_words() -> None:
    text = "# My plan\nfor Ana\n\n## Tasks\n\n- [ ] **T1** One\n"

    ours = render(with_header(parse(text), HEADER))

    assert ours.startswith(f"# My plan\n\n{HEADER.render()}\nfor Ana\n")
    assert not is_ours(text)
    assert run_named_in(ours) == HEADER.run_id
    assert run_named_in(render(with_header(parse("## Tasks\n"), HEADER))) == HEADER.run_id


def test_another_run_s_file_is_taken_over_with_its_user_s_words_alone() -> None:
    plan = Plan("Old", tasks=(Task(TaskId("T1"), "One"), Task(TaskId("T2"), "Two")), later=("old",))
    old = render(new_document(plan, HEADER)).replace("## Later", "Ask Ana.\n\n## Later")
    newer = Plan("New", tasks=(Task(TaskId("T1"), "Another"),))

    text = render(taken_over(parse(old), newer, Header("9", "2b3c4d5", "codexteam/9")))

    assert parse(text).plan() == newer
    assert text.startswith("# Plan: New\n\n<!-- codexteam run 9 ")
    assert "Ask Ana.\n" in text
    assert "Old" not in text
    assert "- old" not in text
