"""What another account of the machine may see of a run and ask of it."""

import asyncio
import grp
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.adapters.machine.person import name_of, person
from codexteam.adapters.machine.shared_state import (
    Letter,
    SharedState,
    close_up,
    group_id,
    is_posted,
    may_only_post,
    post,
)
from codexteam.app import requests
from codexteam.app.group_access import GroupRequests, Posted, as_asked_here, rights_for
from codexteam.core.budget_text import TaskBudget
from codexteam.core.codec import encode_object
from codexteam.core.events import Answered, Continued, PauseRequested, Rules, StopRequested
from codexteam.core.ids import JSONObject, RunId, TaskId
from codexteam.core.plan_graph import Task
from codexteam.core.steering_events import AddRequested, MessageLeft, RunBudgetSet, TaskBudgetSet
from codexteam.errors import ConfigError
from codexteam.ports.store import RunRecord, StoredSession
from tests.fakes.fake_clock import FakeClock
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
OURS = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with one run, as the owner's process makes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "state"
        made.mkdir(mode=0o700)
        for name in ("state.sqlite", "state.sqlite-wal", "lock-1-2"):
            (made / name).touch(mode=0o600)
        (made / "runs" / RUN / "tasks").mkdir(mode=0o700, parents=True)
        for each in (made / "runs", made / "runs" / RUN):
            each.chmod(0o700)
        (made / "runs" / RUN / "events.jsonl").touch(mode=0o600)
        yield made


def shared(state: Path, *, takes: bool = True) -> SharedState:
    return SharedState(state, state / "runs" / RUN, group_id(OURS), takes_requests=takes)


def modes(state: Path) -> dict[str, int]:
    found = [state, *sorted(state.rglob("*"))]
    return {path.relative_to(state).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in found}


def test_a_group_reads_the_store_and_events_and_nothing_else(state: Path) -> None:
    (state / "hub.git").mkdir(mode=0o700)
    (state / "map.sqlite3").touch()
    (state / "map.sqlite3").chmod(0o644)
    before = modes(state)
    shared(state).open_up()
    changed = {name: oct(mode) for name, mode in modes(state).items() if before.get(name) != mode}
    assert changed == {
        ".": "0o2750",
        "asked": "0o3730",
        "lock-1-2": "0o640",
        "map.sqlite3": "0o600",
        "runs": "0o2750",
        f"runs/{RUN}": "0o2750",
        f"runs/{RUN}/events.jsonl": "0o640",
        "state.sqlite": "0o640",
        "state.sqlite-wal": "0o640",
    }
    assert {path.stat().st_gid for path in (state, state / "state.sqlite")} == {group_id(OURS)}


def test_without_a_group_what_was_shared_is_the_owners_again(state: Path) -> None:
    shared(state).open_up()
    close_up(state)
    assert oct(modes(state)["."]) == "0o700"
    assert not (state / "asked").exists()


def test_a_folder_that_never_was_shared_is_left_as_it_is(state: Path) -> None:
    state.chmod(0o755)
    close_up(state)
    assert oct(modes(state)["."]) == "0o755"


def test_a_link_in_place_of_a_file_is_not_followed(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch(mode=0o600)
    (state / "lock-evil").symlink_to(target)
    shared(state).open_up()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_letter_is_read_with_the_name_of_the_files_owner(state: Path) -> None:
    box = shared(state)
    box.open_up()
    name = post(state, "hello")
    assert is_posted(state, name)
    [letter] = box.letters()
    assert letter == Letter(name, person(), "hello")
    box.remove(letter)
    assert not is_posted(state, name)


def test_what_is_no_letter_of_its_owners_is_thrown_away(state: Path, tmp_path: Path) -> None:
    box = shared(state)
    box.open_up()
    (tmp_path / "anothers").write_text("{}")
    try:
        os.link(tmp_path / "anothers", state / "asked" / "hard")
    except OSError:
        (state / "asked" / "hard").symlink_to(tmp_path / "anothers")
    (state / "asked" / "soft").symlink_to(tmp_path / "anothers")
    (state / "asked" / "folder").mkdir()
    os.mkfifo(state / "asked" / "fifo")
    (state / "asked" / "large").write_bytes(b"x" * (300 << 10))
    assert box.letters() == []
    assert list((state / "asked").iterdir()) == []
    assert (tmp_path / "anothers").read_text() == "{}"


def test_the_owner_does_not_ask_by_letter(state: Path) -> None:
    shared(state).open_up()
    assert not may_only_post(state)


def test_a_group_that_is_not_there_is_said_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="no group 'no-such-group'") as raised:
        group_id("no-such-group")
    assert "getent group" in raised.value.hint


@pytest.mark.parametrize(
    ("asked", "rights"),
    [
        (Answered("plan", "", approved=True), ("answer",)),
        (Answered("budget.T1", "5usd", approved=True), ("answer", "budget")),
        (RunBudgetSet(usd=5.0), ("budget",)),
        (TaskBudgetSet(TaskId("T1"), TaskBudget()), ("budget",)),
        (AddRequested(Task(TaskId("T1"), "x")), ("steer",)),
        (AddRequested(Task(TaskId("T1"), "x", budget=TaskBudget(usd=5.0))), ("steer", "budget")),
        (MessageLeft("T1", "x"), ("steer",)),
        (PauseRequested(), ("steer",)),
        (requests.StopAgent("implementer T1.1"), ("steer",)),
    ],
)
def test_each_request_takes_rights(asked: object, rights: tuple[str, ...]) -> None:
    assert rights_for(asked) == rights


async def test_a_letter_changes_no_rules_no_exit_code_and_no_later_session(state: Path) -> None:
    store = MemoryStore()
    members = GroupRequests(
        shared(state),
        store,
        RUN,
        FakeClock(),
        may=("answer", "budget", "steer"),
        look=lambda: None,
        report=lambda _kind, _fields: None,
    )
    await members.look_once()
    for number in (1, 2):
        await store.begin_session(StoredSession(RUN, number, "1", "here", 1, "1", 1.0))
    rules = Continued(Rules(gates=(), allow_unchecked=True))
    for asked, session in ((rules, 2), (StopRequested("x", 0), 2), (StopRequested("late", 0), 1)):
        post(state, json.dumps(encode_object(Posted(RUN, asked, session))))
    for amount in ("NaN", "-5", "1e999"):
        post(state, f'{{"run": "{RUN}", "kind": "run-budget", "usd": {amount}}}')
    box = os.fsencode(state / "asked")
    for name in (b"\xff", b"a b", b"0" * 17):
        Path(os.fsdecode(box + b"/" + name)).write_text("{}")
    await members.look_once()

    found = [asked for _, asked in await requests.pending(store, RUN, session=2)]
    assert sorted(map(repr, found)) == sorted(
        map(repr, [Continued(), StopRequested("codexteam stop", requests.STOP_EXIT_CODE)])
    )
    assert list((state / "asked").iterdir()) == []


async def test_what_members_may_ask_is_left_under_their_name_and_else_refused(state: Path) -> None:
    store, told, looks = MemoryStore(), list[JSONObject](), list[int]()
    members = GroupRequests(
        shared(state),
        store,
        RUN,
        FakeClock(),
        may=("answer",),
        look=lambda: looks.append(1),
        report=lambda _kind, fields: told.append(fields),
    )
    await members.look_once()
    wanted = (Answered("plan", "", approved=True), RunBudgetSet(usd=500.0))
    names = [post(state, json.dumps(encode_object(Posted(RUN, asked)))) for asked in wanted]
    post(state, "{no json")
    post(state, json.dumps(encode_object(Posted("another", PauseRequested()))))
    post(state, json.dumps({"run": RUN, "kind": "hold-agent", "attempt": "T1.1", "pid": 1, "mark": ""}))
    await members.look_once()
    assert [asked for _, asked in await requests.pending(store, RUN)] == [Answered("plan", "", approved=True)]
    keys = [await requests.key_of(store, RUN, name) for name in names]
    assert None not in keys
    assert requests.asked_by(await requests.settled(store, RUN, str(keys[0]))) == person()
    refusal = await requests.result_of(store, RUN, str(keys[1]))
    assert refusal is not None
    assert "it takes 'budget', and [codexteam.access] may allows answer" in refusal
    assert list((state / "asked").iterdir()) == []
    assert looks
    assert len(told) == 4


def test_the_words_of_a_members_budget_are_those_of_its_amounts() -> None:
    asked = as_asked_here(RunBudgetSet(usd=5.0, tokens=20_000, words="nothing; the owner said so"))
    assert asked == RunBudgetSet(usd=5.0, tokens=20_000, words="$5.00, 20,000 tokens")


class _Watching(MemoryStore):
    """Looks for what waits, each time that something is written, as a session may."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[object] = []

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        await super().put(space, key, value)
        self.waited += [asked for _, asked in await requests.pending(self, RUN)]


async def test_what_is_refused_never_waits_for_the_session(state: Path) -> None:
    store = _Watching()
    members = GroupRequests(
        shared(state), store, RUN, FakeClock(), may=(), look=lambda: None, report=lambda _kind, _fields: None
    )
    await members.look_once()
    post(state, json.dumps(encode_object(Posted(RUN, RunBudgetSet(usd=500.0)))))
    await members.look_once()
    assert store.waited == []


async def test_a_letter_is_taken_once_and_waits_for_its_own_run(state: Path) -> None:
    store = MemoryStore()
    other = RunId("20261121-0231-0000")
    for run_id in (RUN, other):
        await store.create_run(RunRecord(run_id, "goal", "base", "running", 1.0, {}))
    members = GroupRequests(
        shared(state), store, RUN, FakeClock(), may=("steer",), look=lambda: None, report=lambda _kind, _fields: None
    )
    await members.look_once()
    name = post(state, json.dumps(encode_object(Posted(RUN, PauseRequested()))))
    elsewhere = post(state, json.dumps(encode_object(Posted(other, PauseRequested()))))
    text = (state / "asked" / name).read_bytes()
    await members.look_once()
    (state / "asked" / name).write_bytes(text)  # as if it had been killed before it removed the letter
    await members.look_once()
    assert len(await requests.pending(store, RUN)) == 1
    assert [path.name for path in (state / "asked").iterdir()] == [elsewhere]


async def test_a_box_that_goes_away_ends_the_access_and_not_the_run(state: Path) -> None:
    told: list[JSONObject] = []
    members = GroupRequests(
        shared(state / "gone"),
        MemoryStore(),
        RUN,
        FakeClock(),
        may=(),
        look=lambda: None,
        report=lambda _kind, fields: told.append(fields),
    )
    async with asyncio.timeout(10):
        await members.serve()
    assert "no access any more" in str(told[0]["text"])


ANOTHER = """
import os, sys
from pathlib import Path
from codexteam.adapters.machine.shared_state import is_posted, may_only_post, post
state = Path(sys.argv[1])
box = state / "asked"
assert may_only_post(state)
print(post(state, "from another account"))
for wrong in (
    lambda: (state / "state.sqlite").open("ab"),
    lambda: (state / "mine").touch(),
    lambda: (box / sys.argv[2]).unlink(),
    lambda: (box / sys.argv[2]).rename(box / "other"),
    lambda: (box / sys.argv[2]).write_text("changed"),
    lambda: box.rename(state / "box"),
):
    try:
        wrong()
    except PermissionError:
        continue
    raise SystemExit("that should not be allowed")
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes another account")
def test_another_account_asks_under_its_own_name_and_changes_nothing(state: Path) -> None:
    box = SharedState(state, state / "runs" / RUN, group_id("daemon"), takes_requests=True)
    box.open_up()
    state.parent.chmod(0o755)
    mine = post(state, "the owner's")
    # it may read everything, as the interpreter may lie where others do not get, and write what it is allowed to
    caps = [f"--{name}-caps=-all,+dac_read_search" for name in ("inh", "ambient")]
    who = ["--reuid", "65534", "--regid", "65534", "--groups", str(group_id("daemon"))]
    done = subprocess.run(
        ["setpriv", *who, *caps, sys.executable, "-c", ANOTHER, str(state), mine],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "USER": "root",
            "LOGNAME": "root",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    by_name = {letter.name: letter.by for letter in box.letters()}
    assert by_name == {mine: person(), done.stdout.strip(): name_of(65534)}
