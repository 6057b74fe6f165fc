"""What holds of every run, however often it was killed: one checker over the files that a run left.

`violations` gives one line for each thing that does not hold; an empty list is a run as it should be. It looks at the
world with git, SQLite and the process table, and at the state with the program's own pure functions; it changes nothing.
"""

import fcntl
import json
import os
import re
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from codexteam.core.events import (
    AcceptanceFailed,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BranchMoved,
    Event,
    ExtraIntegrated,
    Integrated,
    IntegrationConflicted,
)
from codexteam.core.facts import story
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.merge_train import merges_in
from codexteam.core.plan_md import normal_plan, parse
from codexteam.core.state import Rules, RunState, TaskPhase
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, decode_state, encode_state
from codexteam.run.effects import plan_of_state
from tests.e2e.world import World, files_with, fingerprint, processes_of
from tests.scripted_api import Call, RecordedRequest
from tests.unit.core import run_invariants as of_states

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
    """Calls that met a fault of the service: an error is not an answer to be stored."""
    outputs: str = ""
    """What all sessions printed."""
    temporary: Path | None = None
    """The folder for temporary files that the run was given, and nobody else."""
    output_tokens: Mapping[CallName, Sequence[int]] | None = None
    """What the service counted for its answers, by call and try, where it was counted."""
    may_stay: frozenset[str] = frozenset()
    """More names that the run may leave in its state folder."""
    docker: bool = False
    """Whether its sandboxes were containers."""
    on_codex: bool = False
    """Whether the user's Codex asked the model: its requests have no key."""


def violations(evidence: Evidence) -> list[str]:
    """Check everything."""
    found = [*_user(evidence), *_complete(evidence), *_database(evidence)]
    if not found:
        found = [*_states(evidence), *_calls(evidence), *_ledger(evidence), *_hub(evidence), *_left_over(evidence)]
        found += [*_once(evidence), *_git_left_over(evidence), *_engine_left_over(evidence), *_secrets(evidence)]
        if evidence.finished:
            found += [*_plan(evidence), *_result(evidence), *_accepted(evidence), *_totals(evidence)]
            found += [*_places(evidence), *_history(evidence)]
    return found


def during(evidence: Evidence) -> list[str]:
    """Check what must hold at every moment, also while the run is dead."""
    return [*_user(evidence), *_complete(evidence), *_database(evidence), *_secrets_cheap(evidence)]


def _complete(evidence: Evidence) -> Iterator[str]:
    """Everything that a ref of the user's repository leads to is there."""
    checked = _git(evidence.world, evidence.world.repository / ".git", "fsck", "--connectivity-only", "--no-dangling")
    if checked.returncode:
        yield f"the user's repository is damaged: {checked.stdout}{checked.stderr}"


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
    events: list[Event] = field(default_factory=list)


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


def name_of(call: Call) -> CallName:
    """Give a call's name, as `answered` has it."""
    return (call.run_id, call.role, call.purpose, call.task_id, str(call.attempt), str(call.turn))


def _calls(evidence: Evidence) -> Iterator[str]:
    """No stored answer is asked for again, and a kill repeats no more than what was on its way."""
    for seen, stored in evidence.answered_at_kill:
        for request in evidence.requests[seen:]:
            if name_of(request.call) in stored:
                yield f"asked again after its answer was stored: {name_of(request.call)}"
    by_key = Counter(
        str(name_of(request.call)) if evidence.on_codex else request.call.headers.get("idempotency-key", "")
        for request in evidence.requests
    )
    if "" in by_key:
        yield "a request has no Idempotency-Key"
    names = Counter(name_of(request.call) for request in evidence.requests)
    if len(by_key) != len(names):
        yield f"{len(by_key)} keys for {len(names)} calls"
    again = by_key.total() - len(by_key)
    if again > evidence.kills * evidence.most_calls_per_kill:
        yield f"{again} requests again after {evidence.kills} kills"
    unknown = {name_of(request.call) for request in evidence.requests} - answered(evidence.world) - evidence.faulted
    if evidence.finished and unknown:
        yield f"asked, and no answer stored: {sorted(unknown)}"


def _ledger(evidence: Evidence) -> Iterator[str]:
    """What is stored as used is what the server counted, call by call; a try that failed may have been billed too."""
    if not evidence.usage_known:
        return
    tries: dict[CallName, list[int]] = {}
    for request in evidence.requests:
        tries.setdefault(name_of(request.call), []).append(request.input_tokens)
    counted = {name: {sum(part) for part in _runs(counts)} for name, counts in tries.items()}
    sql = "SELECT run_id, role, purpose, task_id, attempt, turn, input_tokens FROM call WHERE answer IS NOT NULL"
    for *name, tokens in rows(evidence.world, sql):
        if tokens not in counted.get(tuple(map(str, name)), set()):
            yield f"{name} is stored with {tokens} tokens, the server counted {counted.get(tuple(map(str, name)))}"
    for *name, tokens in rows(evidence.world, sql.replace("input_tokens", "output_tokens")):
        said = (evidence.output_tokens or {}).get(tuple(map(str, name)))
        if evidence.output_tokens is not None and tokens not in {sum(part) for part in _runs(said or ())}:
            yield f"{name} is stored with {tokens} tokens of output, the service counted {said}"
    sql = "SELECT run_id, role, purpose, task_id, attempt, turn FROM call WHERE answer IS NULL"
    left_open = {tuple(map(str, row)) for row in rows(evidence.world, sql)} - evidence.faulted
    if evidence.finished and left_open:
        yield f"calls are open that nobody waits for: {sorted(left_open)}"
    if evidence.finished:
        total = rows(evidence.world, "SELECT sum(input_tokens), sum(output_tokens) FROM call WHERE answer IS NOT NULL")
        told = [0, 0]
        for event in evidence.world.events():
            if event["kind"] == "agent.turn" and isinstance(usage := event["usage"], dict):
                told[0] += int(str(usage["input_tokens"]))
                told[1] += int(str(usage["output_tokens"]))
        if total != [tuple(told)]:
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
    merged = [merge.commit for merge in merges_in(history.events)]
    merged += [event.commit for event in history.events if isinstance(event, ExtraIntegrated) and event.commit]
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
    # other tests' groups come and go meanwhile; a walk passes over what is gone
    for group, _, _ in os.walk("/sys/fs/cgroup"):
        if run_id in Path(group).name:
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


def _once(evidence: Evidence) -> Iterator[str]:
    """No task is tried again once it is merged, and none is merged twice."""
    merged: set[str] = set()
    for event in _replayed(evidence.world).events:
        match event:
            case AttemptSucceeded() | AttemptFailed() | AttemptAsked() | Integrated() if event.task_id in merged:
                yield f"{event.task_id} was merged, and then came {type(event).__name__} of attempt {event.attempt}"
            case Integrated():
                merged.add(event.task_id)
            case BranchMoved():
                if again := merged & {merge.task_id for merge in event.merges}:
                    yield f"{sorted(again)} were merged twice"
                merged.update(merge.task_id for merge in event.merges)
            case _:
                pass


_TRAILER = "%(trailers:key=Codexteam-{},valueonly,separator=%x2C)"


def _accepted(evidence: Evidence) -> Iterator[str]:
    """Every accepted attempt's commit is in the user's branch, once, or was sent back for a reason that is stored.

    Of several attempts at one task the work of those that were set aside is kept.
    """
    world = evidence.world
    history = _replayed(world)
    if not world.git("for-each-ref", f"refs/heads/{world.branch}"):
        return  # said already
    form = f"--format=%H|{_TRAILER.format('Task')}|{_TRAILER.format('Attempt')}"
    lines = world.git("log", form, f"{history.states[-1].base}..{world.branch}").split()
    in_branch = Counter(tuple(line.split("|")) for line in lines)
    merged = {(str(merge.task_id), merge.attempt): merge for merge in merges_in(history.events)}
    back = {
        (str(event.task_id), event.attempt)
        for event in history.events
        if isinstance(event, IntegrationConflicted | AcceptanceFailed)
    }
    set_aside = {
        (str(task_id), contender.attempt)
        for task_id, known in history.states[-1].tasks.items()
        if known.contest is not None and not known.contest.is_open
        for contender in known.contest.contenders
        if contender.attempt != known.contest.winner
    }
    for event in history.events:
        if isinstance(event, AttemptSucceeded) and event.commit is not None:
            key = (str(event.task_id), event.attempt)
            if key in merged:
                if in_branch[str(merged[key].commit), *map(str, key)] != 1:
                    yield f"the work of {key}, {merged[key].commit}, is not in the branch once: {in_branch}"
            elif key in set_aside:
                if not [*world.run_folder.glob(f"tasks/{key[0]}/{key[1]}/turn-*.pack")]:
                    yield f"the work of {key} was set aside and is not kept"
            elif key not in back:
                yield f"the work of {key}, {event.commit}, was accepted and nothing came of it"
    commits = {event.commit for event in history.events if isinstance(event, ExtraIntegrated)}
    commits |= {merge.commit for merge in merges_in(history.events)}
    if strangers := {line.split("|")[0] for line in lines} - commits:
        yield f"commits are in the branch that nothing accepted: {strangers}"
    for task_id, known in history.states[-1].tasks.items():
        if known.phase is not TaskPhase.MERGED:
            yield f"{task_id} is {known.phase}"


def _history(evidence: Evidence) -> Iterator[str]:
    """Every decision and every answer that is stored is told in events.jsonl, once, decisions in their order."""
    [(run_id, goal)] = rows(evidence.world, "SELECT run_id, goal FROM run")
    history = _replayed(evidence.world)
    wanted: list[tuple[int, str]] = []
    for number, (event, before) in enumerate(zip(history.events, history.states, strict=False), start=1):
        after, effects = step(before, event)
        wanted += [(number, kind) for kind, _ in story(event, before, after, effects)]
    lines = evidence.world.events()
    told = [(int(str(line["event"])), str(line["kind"])) for line in lines if "event" in line]
    if told != wanted:
        yield f"of the decisions of {run_id}, {goal}, these are not told: {Counter(wanted) - Counter(told)}"
        yield f"and these are told too often or out of order: {Counter(told) - Counter(wanted)}"
    turns = sum(line["kind"] == "agent.turn" for line in lines)
    [(answers,)] = rows(evidence.world, "SELECT count(*) FROM call WHERE input_tokens IS NOT NULL")
    if evidence.usage_known and turns != answers:
        yield f"{answers} answers are stored, {turns} turns are told"


def _totals(evidence: Evidence) -> Iterator[str]:
    """What `status` says was used is the sum of what is stored."""
    ended = evidence.world.run("status", "--json")
    if ended.code:
        yield f"status fails: {ended.err}"
        return
    told = cast("JSONObject", ended.lines[0].get("usage"))
    columns = ("input_tokens", "cached_input_tokens", "output_tokens")
    [stored] = rows(evidence.world, f"SELECT {', '.join(f'total({name})' for name in columns)} FROM call")
    if tuple(told.get(name) for name in columns) != stored:
        yield f"the store counts {stored}, status says {told}"


def _git_left_over(evidence: Evidence) -> Iterator[str]:
    """No lock and no half-written object in the user's repository; in the hub no ref but the run's."""
    world = evidence.world
    git = world.repository / ".git"
    for path in git.rglob("*"):
        ours = path.is_relative_to(world.state)
        if not ours and (path.suffix == ".lock" or path.name.startswith(("tmp_", "incoming-"))):
            yield f"left behind: .git/{path.relative_to(git)}"
    for path in (world.state / "hub.git" / "objects").rglob("*"):
        if path.name.startswith(("tmp_", "incoming-")):
            yield f"left behind in the hub: {path.name}"
    run_id = _run_id(world)
    refs = set(_git(world, world.state / "hub.git", "for-each-ref", "--format=%(refname)").stdout.split())
    known = {f"refs/codexteam/base/{run_id}", f"refs/codexteam/landed/{run_id}", f"refs/heads/codexteam/{run_id}"}
    if refs - known:
        yield f"the hub has refs that nobody needs: {sorted(refs - known)}"


def _engine_left_over(evidence: Evidence) -> Iterator[str]:
    """No container of this run, no network of ours, no volume of a workspace."""
    if not evidence.docker:
        return
    run_id = _run_id(evidence.world)
    for words, form in ((("ps", "-a"), "{{.Names}} {{.Labels}}"), (("volume", "ls"), "{{.Name}} {{.Labels}}")):
        argv = ["docker", *words, "--filter", "label=codexteam=1", "--format", form]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            if run_id in line:
                yield f"left on the engine: {line}"
    networks = subprocess.run(["docker", "network", "ls", "--format", "{{.Name}}"], capture_output=True, check=True)
    for name in networks.stdout.decode().split():
        if "codexteam" in name:
            yield f"a network is left: {name}"


#: All that a finished run leaves in its state folder, beside the insides of its hub and of checkouts.
_MAY_STAY = re.compile(
    r"""(state\.sqlite|code-map\.sqlite3)(-wal|-shm)? | lock-[0-9a-f]+-[0-9a-f]+ | hub\.git(/.*)? | quarantine | trees
      | bubblewrap | bubblewrap/bases(/.*)?
      | kept | kept/RUN | kept/RUN/[\w.-]+\.json | kept/RUN/[\w.-]+-[0-9a-f]{16}\.pack
      | runs | runs/RUN | runs/RUN/(events\.jsonl|release-notes\.md|report\.html)
      | runs/RUN/base | runs/RUN/base/[0-9a-f]{40}(-[0-9a-f]{40}\.pack|\.tar|\.shallow|\.[0-9a-f]{12}\.extra\.none|\.pack)
      | runs/RUN/tasks(/\w+(/\d+(/(turn-\d+|start)\.pack|/[a-z_]+(/turn-\d+\.pack)?)?)?)?
      | runs/RUN/tasks/\w+/\d+/outputs/[0-9a-f]+\.txt""",
    re.VERBOSE,
)


def _places(evidence: Evidence) -> Iterator[str]:
    """The state folder has nothing but what a run leaves; the folder for temporary files has nothing."""
    world = evidence.world
    run_id = _run_id(world)
    for path in sorted(world.state.rglob("*")):
        name = path.relative_to(world.state).as_posix().replace(run_id, "RUN")
        if name in evidence.may_stay:
            continue
        if not _MAY_STAY.fullmatch(name) or re.fullmatch(r"bubblewrap/bases/\.[^/]*", name):
            yield f"left behind: {name}"
    packs = Counter(path.parent for path in world.run_folder.rglob("turn-*.pack"))
    for folder, count in packs.items():
        if count > 1:
            yield f"{count} packs of turns are in {folder.relative_to(world.run_folder)}, the newest would do"
    for path in evidence.temporary.rglob("*") if evidence.temporary else ():
        yield f"left behind: a temporary {path.name}"
    allowed = {".codex", ".codex/config.toml", ".codex/codexteam.config.toml", ".gitconfig"}
    for path in world.home.rglob("*"):
        name = path.relative_to(world.home).as_posix()
        # what Codex keeps in its home is its own
        if name not in allowed and not (evidence.on_codex and name.startswith(".codex/")):
            yield f"left in the user's home: {path.relative_to(world.home)}"


def _secrets(evidence: Evidence) -> Iterator[str]:
    for canary in evidence.canaries:
        if canary in evidence.outputs:
            yield "a canary was printed"
        for folder in filter(None, (evidence.temporary, evidence.world.home)):
            for path in folder.rglob("*"):
                if path.is_file() and canary.encode() in path.read_bytes():
                    yield f"a canary is in {path}"
        for place in files_with(evidence.world, canary):
            yield f"a canary is in {place}"
        if canary in (evidence.world.repository / "plan.md").read_text():
            yield "a canary is in plan.md"


def _secrets_cheap(evidence: Evidence) -> Iterator[str]:
    for folder, _, names in os.walk(evidence.world.state):
        for path in (Path(folder) / name for name in names):
            # git that a killed run had begun continues to its end, and takes its own files away
            with suppress(FileNotFoundError):
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
