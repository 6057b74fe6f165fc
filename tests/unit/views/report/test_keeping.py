"""The report that a run leaves never changes how the run ended."""

import subprocess
import sys
from pathlib import Path

from codexteam.adapters.git.location import Places
from codexteam.app.project import Project
from codexteam.core.ids import RunId
from codexteam.views.report.files import keep_report


def test_a_report_that_cannot_be_made_is_said_and_raises_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path, bare=False, object_format="sha1", excludes_file=None)
    kept = keep_report(Project(places, tmp_path / "gone", tmp_path, {}), RunId("20260101-0000-aaaa"))

    assert kept.problem == "there are no runs here yet"
    assert not kept.file.exists()


_LOADED = """
import sys
from codexteam.views.report.files import load_report

assert "jinja2" not in sys.modules
load_report()
from codexteam.views.report.html import _templates
assert len(_templates().cache) == 1
"""


def test_a_report_can_be_loaded_before_it_is_made() -> None:
    subprocess.run((sys.executable, "-c", _LOADED), check=True)
