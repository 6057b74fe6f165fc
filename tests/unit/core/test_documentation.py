"""What asks for documentation: the goal, a plan, a diff."""

import pytest

from codexteam.core.documentation import (
    DOCUMENTATION_PATHS,
    DOCUMENTATION_ROLE,
    asks_for_documentation,
    documentation_paths,
    documents,
    is_documentation,
    mentioned,
    touched_names,
    with_documentation,
)
from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Acceptance, Plan, Task
from tests.unit.core.run_world import tasks


@pytest.mark.parametrize(
    ("goal", "asks"),
    [
        ("Add CSV import and document it.", True),
        ("Add CSV import; update the README and the changelog", True),
        ("Write API references for tally.money", True),
        ("Add docstrings to every public function", True),
        ("Document how imports work", True),
        ("Update README.md", True),
        ("Fix the docs.", True),
        ("Add CSV import.", False),
        ("Parse XML documents into a document store", False),
        ("Fix the crash in docs/conf.py", False),
        ("Speed up load; leave the docs alone", False),
        ("Speed up load, without touching documentation", False),
        ("Don't change the README. Speed up load", False),
        ("Don't break the API, and update the docs; no new dependencies", True),
    ],
)
def test_a_goal_asks_for_documentation_in_so_many_words(goal: str, asks: bool) -> None:
    assert asks_for_documentation(goal) is asks


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("README.md", True),
        ("pkg/README", True),
        ("docs/", True),
        ("docs/conf.py", True),
        ("**/*.rst", True),
        ("CHANGES.txt", True),
        ("requirements.txt", False),
        ("src/docs.py", False),
        ("src/load.py", False),
        ("", False),
    ],
)
def test_documentation_is_known_by_its_name(path: str, is_one: bool) -> None:
    assert is_documentation(path) is is_one


def test_each_of_several_repositories_has_its_documentation() -> None:
    assert is_documentation("api/docs/conf.py", ("api", "web"))
    assert not is_documentation("docs/src/load.py", ("api", "docs"))
    assert {"api/docs/", "web/docs/", "**/*.md"} <= {*documentation_paths(("api", "web"))}
    assert documentation_paths(()) == DOCUMENTATION_PATHS


def test_a_plan_without_it_gets_a_task_for_what_the_goal_asks() -> None:
    plan = Plan("Add CSV import and document it.", tasks=tasks("T1", "T2:T1", "T7"))

    *_, added = with_documentation(plan, ["implementer", DOCUMENTATION_ROLE]).tasks

    assert (added.id, added.role, added.deps, added.paths) == (
        TaskId("T8"),
        DOCUMENTATION_ROLE,
        ("T2", "T7"),
        DOCUMENTATION_PATHS,
    )


@pytest.mark.parametrize(
    "known",
    [
        Task(TaskId("T1"), "Describe it", role=DOCUMENTATION_ROLE),
        Task(TaskId("T1"), "Add it", paths=("src/load.py", "docs/load.md")),
        Task(TaskId("T1"), "Add it", acceptance=(Acceptance("the README tells how", None),)),
    ],
)
def test_a_plan_that_documents_is_left_as_it_is(known: Task) -> None:
    plan = Plan("Add CSV import and document it.", tasks=(known,))

    assert documents(known)
    assert with_documentation(plan, ["implementer", DOCUMENTATION_ROLE]) is plan


@pytest.mark.parametrize(
    ("goal", "roles", "made"),
    [
        ("Add CSV import.", [DOCUMENTATION_ROLE], tasks("T1")),
        ("Document it.", ["implementer"], tasks("T1")),
        ("Document it.", [DOCUMENTATION_ROLE], ()),
    ],
)
def test_no_task_is_added_that_nobody_asked_for_or_could_do(
    goal: str, roles: list[str], made: tuple[Task, ...]
) -> None:
    plan = Plan(goal, tasks=made)

    assert with_documentation(plan, roles) is plan


DIFF = """\
diff --git a/src/load.py b/src/load.py
--- a/src/load.py
+++ b/src/load.py
@@ -1,2 +1,2 @@
-def load(path):
+def load(path, delimiter):
-    parser.add_argument("--no-header")
-def read_all(path): ...
+def fresh(): ...
diff --git a/src/old.py b/src/old.py
--- a/src/old.py
+++ /dev/null
@@ -1 +0,0 @@
-x = 1
diff --git a/README.md b/README.md
--- a/README.md
+++ b/README.md
@@ -1 +1 @@
-def shown_in_the_readme()
"""


def test_a_diff_touches_what_it_takes_away_or_defines_anew() -> None:
    assert touched_names(DIFF) == ("load", "--no-header", "read_all", "src/old.py")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Call `load` first.", "load"),
        ("load(path) reads a file", "load"),
        ("Pass --no-header to skip it.", "--no-header"),
        ("read_all is slow", "read_all"),
        ("under heavy load it waits", None),
        ("--no-headers is another one", None),
    ],
)
def test_documentation_mentions_a_name_where_it_stands_as_code(text: str, found: str | None) -> None:
    names = ("load", "--no-header", "read_all")

    assert mentioned(names, {"README.md": text}) == (None if found is None else (found, "README.md"))
