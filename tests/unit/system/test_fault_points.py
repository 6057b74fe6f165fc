"""The places at which a test can end the process."""

import signal
import subprocess
import sys
from pathlib import Path

from codexteam.system.fault_points import POINT_VARIABLE, RECORD_VARIABLE, make_reach

_WALK = """
from codexteam.system.fault_points import reach
for name in ("a", "b", "a", "c"):
    reach(name)
    print(name, flush=True)
"""


def _walk(tmp_path: Path, point: str) -> tuple[int, list[str], list[str]]:
    record = tmp_path / "points"
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), POINT_VARIABLE: point, RECORD_VARIABLE: str(record)}
    done = subprocess.run([sys.executable, "-c", _WALK], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(), record.read_text().splitlines()


def test_a_place_is_named_by_its_number_or_by_its_name_and_time(tmp_path: Path) -> None:
    assert _walk(tmp_path, "") == (0, ["a", "b", "a", "c"], ["1 a", "2 b", "3 a", "4 c"])
    (tmp_path / "points").unlink()
    assert _walk(tmp_path, "2") == (-signal.SIGKILL, ["a"], ["1 a", "2 b *"])
    (tmp_path / "points").unlink()
    assert _walk(tmp_path, "a#2") == (-signal.SIGKILL, ["a", "b"], ["1 a", "2 b", "3 a *"])


def test_without_a_word_in_the_environment_a_place_is_an_empty_function() -> None:
    reach = make_reach({})
    assert reach.__code__.co_names == ()
    reach("anything")
