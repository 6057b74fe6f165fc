"""What is around the program fails: the disk is full, the state cannot be written, no engine answers, the model breaks.

Each time: one clear error with its exit code, nothing of the user's changed, and the run continues once it is mended.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import KEY, fingerprint
from tests.faults import twelve_tasks
from tests.faults.invariants import Evidence, violations
from tests.faults.killing import expected_tree, machine
from tests.faults.table import LONG
from tests.scripted_api import Drop, HttpError, Raw, Reset, Stall
from tests.scripted_api.script import Call, Fault, Played, Reply, message

pytestmark = [pytest.mark.complete, pytest.mark.bubblewrap, pytest.mark.timeout(600)]

_CANARY = {twelve_tasks.CANARY_NAME: twelve_tasks.CANARY}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 4 MB large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path, leave_bytes: int) -> Path:
    """Fill a file system but for so many bytes."""
    ballast = folder / "ballast"
    state = os.statvfs(folder)
    size = max(0, state.f_bavail * state.f_frsize - leave_bytes)
    ballast.write_bytes(b"x" * size)
    return ballast


@pytest.mark.parametrize("leave_kib", [0, 300, *(pytest.param(kib, marks=LONG) for kib in (64, 600))])
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(tmp_path: Path, small_disk: Path, leave_kib: int) -> None:
    with machine(tmp_path) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        ballast = _fill(small_disk, leave_kib << 10)
        where = ("--state-dir", str(small_disk / "state"))
        ended = world.run("run", twelve_tasks.GOAL, *where, **_CANARY)
        assert ended.code == 6, ended.out + ended.err
        assert "Traceback" not in ended.err
        assert "unexpected" not in ended.err
        assert fingerprint(world) == before
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
        begun = (small_disk / "state" / "runs").exists() and any((small_disk / "state" / "runs").iterdir())
        words = ("resume", *where) if begun else ("run", twelve_tasks.GOAL, *where)
        again = world.run(*words, **_CANARY)
        if again.code == 2 and begun:  # it was stopped before anything was stored
            again = world.run("run", twelve_tasks.GOAL, *where, **_CANARY)
        assert again.code == 0, again.out + again.err
        branch = world.git("for-each-ref", "--format=%(refname)", "refs/heads/codexteam").split()[-1]
        assert world.git("rev-parse", f"{branch}^{{tree}}").strip() == tree
        keys = Counter(request.call.headers["idempotency-key"] for request in api.requests)
        assert max(keys.values()) <= 2


def test_no_engine_is_one_error_before_any_spend(tmp_path: Path) -> None:
    with machine(tmp_path) as (world, api):
        before = fingerprint(world)
        ended = world.run(
            "-c", "codexteam.sandbox.kind=docker", "run", twelve_tasks.GOAL, DOCKER_HOST=f"unix://{tmp_path}/no.sock"
        )
        assert ended.code == 6, ended.out + ended.err
        assert "error: " in ended.err
        assert "unexpected" not in ended.err
        assert api.requests == []
        assert fingerprint(world) == before


_FAULTS: dict[str, tuple[Fault | Reply, int]] = {
    "429 with Retry-After": (HttpError(429, code="rate_limit_exceeded", headers={"Retry-After": "1"}), 1),
    "500": (HttpError(500), 1),
    "503": (HttpError(503), 1),
    "reset": (Reset(), 1),
    "cut in an item": (Drop(mid_item=True), 1),
    "cut before its end": (Drop(), 1),
    "a clean end without an end event": (Drop(clean=True), 1),
    "HTML with 200": (Raw(b"<html>busy</html>", content_type="text/html"), 1),
    "broken JSON": (Raw(b"event: response.completed\ndata: {\n\n"), 1),
    "response.failed": (Reply(items=(message("x"),), end="failed", reason="server_error", message="busy"), 1),
}


def test_every_kind_of_fault_of_the_model_is_outlived_in_one_run(tmp_path: Path) -> None:
    """One fault of each kind, on the first try of one call each; then a run as any other."""
    waiting = list(_FAULTS.values())
    struck: set[str] = set()

    def play(call: Call) -> Played:
        key = call.headers.get("idempotency-key", "")
        if waiting and call.tries == 1 and key not in struck and call.purpose in {"implement", "review", "plan"}:
            struck.add(key)
            return waiting.pop()[0]
        return twelve_tasks.play(call)

    with machine(tmp_path, play) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        ended = world.run("-c", "model_providers.loopback.stream_max_retries=3", "run", twelve_tasks.GOAL, **_CANARY)
        assert ended.code == 0, ended.out + ended.err
        assert waiting == []
        evidence = Evidence(
            world, before, api.requests, kills=len(_FAULTS), expected_tree=tree, canaries=(KEY, twelve_tasks.CANARY)
        )
        assert violations(evidence) == []


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        pytest.param(HttpError(401, code="invalid_api_key"), 6, "key", id="401"),
        pytest.param(HttpError(403), 6, "", id="403", marks=LONG),
        pytest.param(HttpError(404, code="model_not_found"), 6, "model", id="unknown model", marks=LONG),
        pytest.param(HttpError(429, code="insufficient_quota"), 6, "quota", id="quota", marks=LONG),
    ],
)
def test_who_is_not_served_stops_and_goes_on_later(tmp_path: Path, fault: HttpError, code: int, says: str) -> None:
    mended: list[bool] = []

    def play(call: Call) -> Played:
        if not mended and call.task_id == "T7":
            return fault
        return twelve_tasks.play(call)

    with machine(tmp_path, play) as (world, api):
        before, tree = fingerprint(world), expected_tree(world)
        ended = world.run("run", twelve_tasks.GOAL, **_CANARY)
        assert ended.code == code, ended.out + ended.err
        assert says in ended.err.lower()
        mended.append(True)
        again = world.run("resume", **_CANARY)
        assert again.code == 0, again.out + again.err
        evidence = Evidence(
            world, before, api.requests, kills=1, expected_tree=tree, canaries=(KEY, twelve_tasks.CANARY)
        )
        assert violations(evidence) == []


def test_a_stalled_stream_is_given_up_and_asked_again(tmp_path: Path) -> None:
    def play(call: Call) -> Played:
        if call.task_id == "T4" and call.turn == 1 and call.tries == 1:
            return Stall(comment_seconds=0.2)
        return twelve_tasks.play(call)

    with machine(tmp_path, play) as (world, api):
        tree = expected_tree(world)
        # long enough for those that only wait for a processor
        idle = "model_providers.loopback.stream_idle_timeout_ms=5000"
        ended = world.run("-c", idle, "run", twelve_tasks.GOAL, **_CANARY)
        assert ended.code == 0, ended.out + ended.err
        assert world.git("rev-parse", f"{world.branch}^{{tree}}").strip() == tree
        tries = Counter(request.call.headers["idempotency-key"] for request in api.requests)
        assert sorted(tries.values())[-2:] == [1, 2]
