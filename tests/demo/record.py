"""Makes the demo's recording: the real program over the sample, its model `tests.demo.script` on loopback.

python -m tests.demo.record [FILE]

Without FILE it replaces the recording that ships.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from codexteam.adapters.git.repo import make_repository
from codexteam.app import demo
from codexteam.views.run_view import RunView
from tests.demo import script
from tests.scripted_api import serve_in_thread

ROOT = Path(__file__).parents[2]
#: How long the model takes, by what it is asked for: long enough to watch agents work, short enough for half a minute.
SECONDS = {"scout": 0.3, "plan": 0.7, "replan": 0.5, "implement": 0.4, "review": 0.3, "qa": 0.3, "security": 0.3}


def record(file: Path) -> None:
    """Write the recording.

    Raises:
        SystemExit: the run did not end green.
    """
    with tempfile.TemporaryDirectory() as folder, serve_in_thread(script.play) as api:
        home = Path(folder) / "home"
        (home / ".codex").mkdir(parents=True)
        (home / ".codex" / "config.toml").write_text(
            f'model_provider = "loopback"\n[model_providers.loopback]\nname = "Loopback"\nbase_url = "{api.base_url}"\n'
            'wire_api = "responses"\n'
        )
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
        options = demo.DemoOptions(Path(folder) / "tally", environment, RunView())
        sample = demo.copy_sample(options)
        make_repository(sample, environment, message=demo.MESSAGE)
        file.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "codexteam", "run", demo.GOAL, "--record", str(file.absolute())),
                *("-c", 'codexteam.sandbox.kind="bubblewrap"', "--step", "documentation=always"),
            ],
            cwd=sample,
            env=environment,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"the run ended with {done.returncode}: {file} is not a recording of a green run")
    _set_pace(file)


def _set_pace(file: Path) -> None:
    """Say of each call how long it takes, so that how busy this machine was does not show in the demo."""
    header, *rows = file.read_text(encoding="ascii").splitlines()
    lines = [json.loads(row) for row in rows]
    for line in lines:
        line["seconds"] = SECONDS.get(line["call"]["purpose"], 0.3)
    texts = [header, *(json.dumps(line, separators=(",", ":")) for line in lines)]
    file.write_text("".join(f"{text}\n" for text in texts), encoding="ascii")


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else demo.RECORDING)
