"""A plan.md that a crash left behind is not an edit; an edit takes out only what the user saw."""

from dataclasses import replace

from codexteam.core.ids import RunId
from codexteam.core.plan_graph import Plan, Task, TaskStatus
from codexteam.core.plan_md import Header, new_document, render
from codexteam.run.plan_versions import is_edited, marked_by_user, note_shown, says_other_goal, users_edit, was_shown
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import tasks

RUN = RunId("20261121-0231-7f3a")
HEADER = Header(RUN, "1a2b3c4", f"codexteam/{RUN}")


def _plan(*names: str) -> Plan:
    return Plan("goal", tasks=tuple(Task(known.id, f"Do {known.id}") for known in tasks(*names)))


def _text(plan: Plan) -> str:
    return render(new_document(plan, HEADER))


async def _shown(*plans: Plan) -> MemoryStore:
    """Give the store of a run that wrote these, one after the other, the last one only noted."""
    store = MemoryStore()
    before = None
    for plan in plans:
        await note_shown(store, RUN, on_disk=before, text=_text(plan), plan=plan)
        before = _text(plan)
    return store


async def test_a_version_of_ours_that_was_not_replaced_in_time_is_no_edit() -> None:
    store = await _shown(Plan("goal"), _plan("T1", "T2"))
    assert await users_edit(store, RUN, _text(Plan("goal")), _plan("T1", "T2")) is None
    assert await users_edit(store, RUN, _text(_plan("T1", "T2")), _plan("T1", "T2", "T3")) is None


async def test_so_it_is_after_any_number_of_crashes_before_the_write() -> None:
    store, old = await _shown(_plan("T1")), _text(_plan("T1"))
    for number in range(2, 6):
        newer = _plan(*(f"T{n}" for n in range(1, number + 1)))
        await note_shown(store, RUN, on_disk=old, text=_text(newer), plan=newer)
        assert await users_edit(store, RUN, old, newer) is None


async def test_an_edit_is_taken_and_what_it_leaves_out_is_out() -> None:
    known = _plan("T1", "T2")
    store = await _shown(known)
    assert await users_edit(store, RUN, _text(_plan("T1")), known) == _plan("T1")
    changed = replace(known, tasks=(replace(known.tasks[0], title="Another"), known.tasks[1]))
    edited = await users_edit(store, RUN, _text(changed), known)
    assert edited is not None
    assert edited.tasks[0].title == "Another"


async def test_an_edit_of_an_older_version_removes_nothing_it_never_showed() -> None:
    known = _plan("T1", "T2", "T3")
    store = await _shown(_plan("T1", "T2"), known)  # killed before the second was written
    edited = await users_edit(store, RUN, _text(_plan("T2")), known)
    assert edited is not None
    assert [task.id for task in edited.tasks] == ["T2", "T3"]


async def test_a_file_of_a_run_that_noted_nothing_is_compared_with_the_state() -> None:
    known = _plan("T1", "T2")
    store = MemoryStore()
    assert await users_edit(store, RUN, _text(known), known) is None
    done = replace(known, tasks=tuple(replace(task, status=TaskStatus.DONE) for task in known.tasks))
    assert await users_edit(store, RUN, _text(known), done) is not None


async def test_a_file_with_tasks_never_shown_is_an_edit_even_while_running() -> None:
    known = _plan("T1", "T2")
    store, text = await _shown(_plan("T1"), known), _text(known)
    words = text.replace("## Later", "My own words.\n\n## Later")
    assert not await is_edited(store, RUN, words), "words of the user's own are kept wherever the plan goes"
    assert not await was_shown(store, RUN, words)
    assert not await is_edited(store, RUN, _text(_plan("T1"))), "an editor may have been opened a version ago"
    for old, new in (("Do T1", "Do it"), ("- [ ] **T2**", "- [-] **T2**"), ("## Risks\n", "## Risks\n\n- one\n")):
        assert await is_edited(store, RUN, text.replace(old, new)), new
    await note_shown(store, RUN, on_disk=words, text=words, plan=known)
    assert await was_shown(store, RUN, words)


async def test_what_an_older_codexteam_noted_makes_no_file_an_edit() -> None:
    store = MemoryStore()
    assert not await is_edited(store, RUN, _text(_plan("T1")))
    await store.put(f"{RUN}/plan_file", "shown", {"versions": [{"sha256": "0", "tasks": ["T1"]}]})
    assert not await is_edited(store, RUN, _text(_plan("T1")))


async def test_another_goal_is_an_edit_and_one_that_was_shown_is_not() -> None:
    known = replace(_plan("T1"), goal="a goal [redacted]")
    store = await _shown(known)
    other = replace(known, goal="another goal")
    assert await says_other_goal(store, RUN, other, "a goal with a secret")
    assert await is_edited(store, RUN, _text(other))
    assert not await says_other_goal(store, RUN, known, "a goal with a secret")
    assert not await says_other_goal(store, RUN, other, " another goal\n")
    assert not await says_other_goal(MemoryStore(), RUN, other, "a goal"), "an older version noted none"


async def test_only_a_mark_that_no_version_had_is_the_user_s() -> None:
    known = _plan("T1", "T2")
    done = replace(known, tasks=(replace(known.tasks[0], status=TaskStatus.DONE), known.tasks[1]))
    store = await _shown(known, done)  # killed before the second was written
    assert await marked_by_user(store, RUN, known) == frozenset()
    dropped = replace(known, tasks=(known.tasks[0], replace(known.tasks[1], status=TaskStatus.DROPPED)))
    assert await marked_by_user(store, RUN, dropped) == {"T2"}
