"""Whatever a user does to plan.md: it is read, or refused with its line; what is read is written back; nothing is lost."""

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Task, TaskStatus
from codexteam.core.plan_md import Header, PlanDocument, Raw, is_ours, normal_plan, parse, render, update
from codexteam.core.plan_md_template import template, without_template
from codexteam.errors import PlanError
from tests.fuzz.mutations import mutated
from tests.fuzz.running import TIMEOUT, fuzz, require

pytestmark = [TIMEOUT, pytest.mark.slow]

HEADER = Header("20261121-0231-7f3a", "1a2b3c4d5e", "codexteam/20261121-0231-7f3a")

WHOLE = """\
# Plan: Add CSV import

<!-- codexteam run 20261121-0231-7f3a · base 1a2b3c4 · branch codexteam/20261121-0231-7f3a -->

## Goal

Add CSV import with schema validation.

\\# not a heading

## Tasks

Read this first.

- [ ] **T1** Read and validate the CSV `implementer` (effort 2)
  Reads a UTF-8 file, reports the first bad row.

  Second paragraph.
  - paths: `src/load.py`, `tests/test_load.py`, ``a`b``
  - accept: a bad row is reported with its number: `pytest -q tests/test_load.py`
  - accept: both:
    ```
    make all
    make check
    ```
- [x] **T2** Write the report `documentation` (effort 1)
  - after: T1
  - paths: `src/report.py`
  - accept: the report lists every column
  - fixes: F1, F2

## Notes

1. mine

```
## no heading
```

## Later

- Excel files

Some day:

## Done

- T2 Write the report

## Next

## Risks

- none that I know of
"""
SMALL = "## Tasks\n- [ ] **T1** x\n"
TEMPLATED = "## Tasks\n\n- [ ] **T1** x\n\n" + "\n".join(template(2)) + "\n\n## Later\n"
FOREIGN = "# Plan\n\n- [ ] buy milk\n- [x] done\n\n| a | b |\n|---|---|\n\n## TODO\n\n* one\n"

TOKENS = [
    "## Tasks", "## Goal", "## Later", "## Done", "## Next", "## Risks", "## ", "##", "# Plan: x", "- ", "- [ ] ",
    "- [x] **T1** a",
    "- [ ] **T3** b `role` (effort 5)", "- [~] **T0** c", "- [ ] **T99999999999999999999** d", "  - after: T1",
    "  - after: T3, T1",
    "  - paths: `x`", "  - paths: ``", "  - accept: a: `b`", "  - accept: a:", "    ```", "    ````", "```",
    "  - fixes: F1",
    "  - fixes: T1", "  text", "  \\- x", "  \\\\", "\\#", "\\\\#", "<!-- codexteam run ", "-->", "  - accpt: x",
    "(effort 0)", "**T1**",
    "`", "``", " `", "`implementer`", "<!-- mine", "  - deps: `T1`", "  - files: `x`", "  - test: x", "- [X] **T8** e",
]  # fmt: skip

_MARKUP = st.text(alphabet=st.sampled_from("- []*T1`x:\n#\\~!afterpaths()\u0000\ufeff\u2028\t\r"), max_size=200)
TEXTS = st.one_of(
    mutated([WHOLE, SMALL, FOREIGN, TEMPLATED], TOKENS),
    mutated([WHOLE, SMALL], TOKENS),
    _MARKUP.map(lambda text: "## Tasks\n" + text),
    _MARKUP.map(lambda text: WHOLE + text),
    st.text(max_size=80),
)


def _read(text: str) -> PlanDocument | str:
    try:
        return parse(text)
    except PlanError as error:
        return str(error)


def _holds(text: str) -> str:
    document = _read(text)
    if isinstance(document, str):
        require(document.startswith("plan.md"), document)
        return "refused"
    plan = document.plan()
    written = render(document)
    again = parse(written)
    require(normal_plan(again.plan()) == normal_plan(plan), f"what was read is written as it was: {written!r}")
    # a byte order mark that has become the first character goes with the first write
    settled = render(again).lstrip("\ufeff\n") == written.lstrip("\ufeff\n")
    require(settled, f"writing settles at once: {written!r}")
    # a run continues with it: a task is done, one is new, the header is the run's
    tasks = tuple(replace(task, status=TaskStatus.DONE) for task in plan.tasks)
    new = Task(TaskId(f"T{1 + max((int(task.id[1:]) for task in plan.tasks), default=0)}"), "A new one")
    progressed = update(again, replace(plan, tasks=(*tasks, new)), HEADER, done=["T1 x"], next_up=["T2 y"])
    shown = render(progressed)
    known = {task.id: task for task in parse(shown).plan().tasks}
    require(set(known) == {task.id for task in (*tasks, new)}, f"every task is shown: {shown!r}")
    done = all(task.status is TaskStatus.DONE for name, task in known.items() if name != new.id)
    require(done, f"every mark is shown: {shown!r}")
    # the byte order mark at a file's head is not text
    unmarked = shown.replace("\ufeff", "")
    for node in document.nodes:
        for line in without_template(node.lines) if isinstance(node, Raw) else ():
            kept = line.replace("\ufeff", "") in unmarked or line.startswith("<!-- codexteam run ")
            require(kept, f"the user's own text is kept: {line!r} is not in {shown!r}")
    require(is_ours(shown) == is_ours(text), "it stays ours, or somebody else's")
    return "read"


def test_any_edit_of_plan_md_is_read_or_refused_and_nothing_is_lost() -> None:
    met = fuzz("plan.md", TEXTS, _holds, short=250)
    assert met["read"] > 20
    assert met["refused"] > 20
