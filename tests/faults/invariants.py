"""What holds of every run, however often it was killed: one checker over the files that a run left.

`violations` gives one line for each thing that does not hold; an empty list is a run as it should be. It looks at the
world with git, SQLite and the process table, and at the state with the program's own pure functions; it changes nothing.
"""

import fcntl
import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from codexteam.core import invariants as of_states
from codexteam.core.codec import decode_event, decode_state, encode_state
from codexteam.core.events import AttemptSucceeded, ExtraIntegrated, Integrated
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.plan_md import normal_plan, parse
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.driver.performer import plan_of_state
from tests.e2e.world import World, files_with, fingerprint, processes_of
from tests.scripted_api import Call, RecordedRequest

#: Run, role, purpose, task, attempt, turn: what a call is, as its metadata says.
CallName = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a checker needs beside the files."""

    world: World
    before: Mapping[str, str]
    """The user's repository before the run; see `fingerprint`."""
    requests: Sequence[RecordedRequest]
    kills: int = 0
    most_calls_per_kill: int = 4
    """Calls that can be on their way at the same time."""
    answered_at_kill: Sequence[tuple[int, frozenset[CallName]]] = ()
    """For each kill: requests that the server had had, and the calls whose answers were stored."""
    canaries: Sequence[str] = ()
    finished: bool = True
    expected_tree: str = ""
    usage_known: bool = True
    """Whether the service told the usage of every answer as it was."""
    faulted: frozenset[CallName] = frozenset()
    """Calls that met a fault of the service: an error is no answer to be stored."""


def violations(evidence: Evidence) -> list[str]:
    """Check everything."""
    found = [*_user(evidence), *_database(evidence)]
    if not found:
        found = [*_states(evidence), *_calls(evidence), *_ledger(evidence), *_hub(evidence), *_left_over(evidence)]
        found += _secrets(evidence)
        if evidence.finished:
            found += [*_plan(evidence), *_result(evidence)]
    return found


def during(evidence: Evidence) -> list[str]:
    """Check what must hold at every moment, also while the run is dead."""
    ours = "the user's .plan.md.codexteam-new "  # between its writing and its renaming
    user = [line for line in _user(evidence) if not line.startswith(ours)]
    return [*user, *_database(evidence), *_secrets_cheap(evidence)]


def _user(evidence: Evidence) -> Iterator[str]:
    now = fingerprint(evidence.world)
    for name in sorted(set(now) | set(evidence.before)):
        if now.get(name) != evidence.before.get(name):
            yield f"the user's {name} was {evidence.before.get(name)}, is {now.get(name)}"


def rows(world: World, sql: str) -> list[tuple[object, ...]]:
    """Ask the state file, as it lies there."""
    with closing(sqlite3.connect(f"file:{world.state / 'state.sqlite'}?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def answered(world: World) -> frozenset[CallName]:
    """Give the calls whose answers are stored."""
    sql = "SELECT run_id, role, purpose, task_id, attempt, turn FROM call WHERE answer IS NOT NULL"
    return frozenset(tuple(map(str, row)) for row in rows(world, sql))


def _database(evidence: Evidence) -> Iterator[str]:
    if not (evidence.world.state / "state.sqlite").exists():
        return
    result = rows(evidence.world, "PRAGMA integrity_check")
    if result != [("ok",)]:
        yield f"the state file is damaged: {result}"


def _run_id(world: World) -> RunId:
    return RunId(str(rows(world, "SELECT run_id FROM run")[0][0]))


@dataclass(slots=True)
class _History:
    states: list[RunState] = field(default_factory=list)
    events: list[object] = field(default_factory=list)


def _replayed(world: World) -> _History:
    """Replay the stored events on the state that the run began with."""
    [(run_id, goal)] = rows(world, "SELECT run_id, goal FROM run")
    [(_, text)] = rows(world, "SELECT sequence, state FROM checkpoint")
    rules: Rules = decode_state(cast("JSONObject", json.loads(str(text)))).rules
    history = _History([RunState(RunId(str(run_id)), str(goal), rules)])
    for kind, payload in rows(world, "SELECT kind, payload FROM event ORDER BY sequence"):
        event = decode_event(str(kind), cast("JSONObject", json.loads(str(payload))))
        state, _ = step(history.states[-1], event)
        history.states.append(state)
        history.events.append(event)
    return history


def _states(evidence: Evidence) -> Iterator[str]:
    """Replaying the events gives the stored state, and every state on the way is one that may be."""
    world = evidence.world
    history = _replayed(world)
    for state in history.states:
        of_states.check(state)
    [(sequence, text)] = rows(world, "SELECT sequence, state FROM checkpoint")
    stored = json.loads(str(text))
    replayed = json.loads(json.dumps(encode_state(history.states[int(str(sequence))])))
    if stored != replayed:
        yield f"the checkpoint at event {sequence} is not what the events give"
    numbers = [number for (number,) in rows(world, "SELECT sequence FROM event ORDER BY sequence")]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "the events' numbers have a gap"


def _name(request: RecordedRequest) -> CallName:
    return name_of(request.call)


def name_of(call: Call) -> CallName:
    """Give what a call is."""
    metadata = cast("JSONObject", call.body.get("metadata", {}))
    return tuple(str(metadata.get(name)) for name in ("run_id", "role", "purpose", "task_id", "attempt", "turn"))


def _calls(evidence: Evidence) -> Iterator[str]:
    """No stored answer is asked for again, and a kill repeats no more than what was on its way."""
    for seen, stored in evidence.answered_at_kill:
        for request in evidence.requests[seen:]:
            if _name(request) in stored:
                yield f"asked again after its answer was stored: {_name(request)}"
    by_key = Counter(request.call.headers.get("idempotency-key", "") for request in evidence.requests)
    if "" in by_key:
        yield "a request has no Idempotency-Key"
    names = Counter(map(_name, evidence.requests))
    if len(by_key) != len(names):
        yield f"{len(by_key)} keys for {len(names)} calls"
    again = by_key.total() - len(by_key)
    if again > evidence.kills * evidence.most_calls_per_kill:
        yield f"{again} requests again after {evidence.kills} kills"
    unknown = {_name(request) for request in evidence.requests} - answered(evidence.world) - evidence.faulted
    if evidence.finished and unknown:
        yield f"asked, and no answer stored: {sorted(unknown)}"


def _ledger(evidence: Evidence) -> Iterator[str]:
    """What is stored as used is what the server counted, call by call; a try that failed may have been billed too."""
    if not evidence.usage_known:
        return
    tries: dict[CallName, list[int]] = {}
    for request in evidence.requests:
        tries.setdefault(_name(request), []).append(request.input_tokens)
    counted = {name: {sum(part) for part in _runs(counts)} for name, counts in tries.items()}
    sql = "SELECT run_id, role, purpose, task_id, attempt, turn, input_tokens FROM call WHERE answer IS NOT NULL"
    for *name, tokens in rows(evidence.world, sql):
        if tokens not in counted.get(tuple(map(str, name)), set()):
            yield f"{name} is stored with {tokens} tokens, the server counted {counted.get(tuple(map(str, name)))}"
    if evidence.finished:
        total = rows(evidence.world, "SELECT sum(input_tokens), sum(output_tokens) FROM call WHERE answer IS NOT NULL")
        told = [0, 0]
        for event in evidence.world.events():
            if event["kind"] == "agent.turn" and isinstance(usage := event["usage"], dict):
                told[0] += int(str(usage["input_tokens"]))
                told[1] += int(str(usage["output_tokens"]))
        if evidence.kills == 0 and total != [tuple(told)]:
            yield f"the store counts {total}, the events {told}"


def _runs(counts: Sequence[int]) -> Iterator[Sequence[int]]:
    """Give every run of neighbours."""
    for start in range(len(counts)):
        for end in range(start + 1, len(counts) + 1):
            yield counts[start:end]


def _git(world: World, database: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["git", f"--git-dir={database}", *arguments]
    return subprocess.run(argv, env=world.environment(), capture_output=True, text=True, check=False)


def _hub(evidence: Evidence) -> Iterator[str]:
    """The hub is whole; every accepted attempt's work is merged, or its task says why not."""
    world = evidence.world
    hub = world.state / "hub.git"
    checked = _git(world, hub, "fsck", "--strict", "--no-dangling", "--no-progress")
    if checked.returncode or "error" in checked.stderr:
        yield f"the hub is damaged: {checked.stdout}{checked.stderr}"
    if left := [path.name for path in hub.rglob("*.lock")]:
        yield f"locks are left in the hub: {left}"
    history = _replayed(world)
    merged = [event.commit for event in history.events if isinstance(event, Integrated | ExtraIntegrated)]
    tip = history.states[-1].tip
    for commit in filter(None, merged):
        if _git(world, hub, "merge-base", "--is-ancestor", commit, str(tip)).returncode:
            yield f"{commit} was merged and is not below the tip {tip}"
    for event in history.events:
        if not isinstance(event, AttemptSucceeded) or event.commit is None:
            continue
        if _git(world, hub, "cat-file", "-e", event.commit).returncode:
            yield f"the work of {event.task_id}.{event.attempt}, {event.commit}, is gone"
        if evidence.finished and event.task_id not in history.states[-1].tasks:
            yield f"the work of {event.task_id}.{event.attempt} is named nowhere"


def _left_over(evidence: Evidence) -> Iterator[str]:
    """Nothing is left behind: processes, control groups, quarantines, temporary files, locks."""
    world = evidence.world
    for command in processes_of(world):
        yield f"a process is left: {command[:200]}"
    for name in ("quarantine", "bubblewrap/workspaces", "bubblewrap/runs"):
        for path in (world.state / name).glob("*"):
            yield f"left behind: {path.relative_to(world.state)}"
    for path in world.state.rglob("*.codexteam-new"):
        yield f"left behind: {path.relative_to(world.state)}"
    if (world.repository / ".plan.md.codexteam-new").exists():
        yield "left behind: a temporary plan.md"
    run_id = _run_id(world)
    groups = [path for path in Path("/sys/fs/cgroup").glob("*/**/") if run_id in path.name]
    for group in groups:
        yield f"a control group is left: {group}"
    for lock in world.state.glob("lock-*"):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield f"{lock.name} is held"
    expected = {f"refs/heads/codexteam/{run_id}"} if evidence.finished else set()
    refs = set(world.git("for-each-ref", "--format=%(refname)").split())
    if extra := {ref for ref in refs if "codexteam" in ref} - expected:
        yield f"branches are left: {sorted(extra)}"
    if missing := expected - refs:
        yield f"there is no branch {sorted(missing)}"


def _secrets(evidence: Evidence) -> Iterator[str]:
    for canary in evidence.canaries:
        for place in files_with(evidence.world, canary):
            yield f"a canary is in {place}"
        if canary in (evidence.world.repository / "plan.md").read_text():
            yield "a canary is in plan.md"


def _secrets_cheap(evidence: Evidence) -> Iterator[str]:
    for path in evidence.world.state.rglob("*"):
        if path.is_file() and any(canary.encode() in path.read_bytes() for canary in evidence.canaries):
            yield f"a canary is in {path.relative_to(evidence.world.state)}"


def _plan(evidence: Evidence) -> Iterator[str]:
    """plan.md says what the store says."""
    state = _replayed(evidence.world).states[-1]
    shown = parse((evidence.world.repository / "plan.md").read_text()).plan()
    known = normal_plan(plan_of_state(state))
    if normal_plan(shown).tasks != known.tasks:
        yield f"plan.md shows {shown.tasks}, the store has {known.tasks}"


def _result(evidence: Evidence) -> Iterator[str]:
    """What was said at the end is so: green on the very commit that the branch points to."""
    world = evidence.world
    events = world.events()
    sequence = [event["sequence"] for event in events]
    if sequence != list(range(1, len(events) + 1)):
        yield "events.jsonl has gaps or repeated numbers"
    state = _replayed(world).states[-1]
    if f"refs/heads/{world.branch}" not in world.git("for-each-ref", "--format=%(refname)").split():
        return  # said already
    branch = world.git("rev-parse", world.branch).strip()
    if state.result is None or state.result.value != "green":
        yield f"the run ended {state.result}: {state.result_reason}"
    if branch != state.landed:
        yield f"the branch points to {branch}, the state says {state.landed}"
    tree = world.git("rev-parse", f"{world.branch}^{{tree}}").strip()
    if evidence.expected_tree and tree != evidence.expected_tree:
        yield f"the tree is {tree}, not {evidence.expected_tree}"
    (state_word,) = rows(world, "SELECT state FROM run")[0]
    if state_word != "green":
        yield f"the store says the run is {state_word}"
