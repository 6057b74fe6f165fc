"""Our agent for Harbor: a whole run on a container's files, as Harbor starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeWorld
from tests.e2e.eval_exercises import TEAM, play

pytestmark = [pytest.mark.slow, pytest.mark.bubblewrap]
_HERE = Path(__file__).parent
_STAND_IN = _HERE.parent / "fakes" / "harbor_interface"
_REAL = os.environ.get("CODEXTEAM_TEST_HARBOR", "")


@pytest.mark.parametrize("real", [False, True], ids=["interface", "harbor"])
def test_a_containers_files_are_worked_on_and_put_back(make: MakeWorld, real: bool) -> None:
    if real and not _REAL:
        pytest.skip("needs CODEXTEAM_TEST_HARBOR, a Python with Harbor and codexteam: it takes 470 MB")
    world, _ = make(TEAM, play)
    container = world.folder / "app"
    container.mkdir()
    (container / "number.py").write_text("def number():\n    pass\n")
    (container / "kept.bin").write_bytes(b"\x00\xff")
    logs = world.folder / "logs"
    logs.mkdir()
    environment = world.environment() | {"PYTHONPATH": "" if real else str(_STAND_IN)}

    done = subprocess.run(
        [
            _REAL if real else sys.executable,
            str(_HERE / "harbor_agent.py"),
            *(str(container), str(logs), "loopback/rate-100", "Return the number 7."),
        ],
        env=environment,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["name"], said["atif"]) == ("codexteam", True)
    assert said["metadata"]["exit_code"] == 0
    assert said["metadata"]["changed_files"] == 1
    assert said["input_tokens"] == sum(said["by_model"].values()) > 0
    assert list(said["by_model"]) == ["rate-100"]
    assert (container / "number.py").read_text() == "def number():\n    return 7\n"
    assert (container / "kept.bin").read_bytes() == b"\x00\xff"
    trajectory = json.loads((logs / "trajectory.json").read_text())
    assert trajectory["agent"]["name"] == "codexteam"
