"""How long `codexteam --help` and `--version` take, whole process, from an installed wheel with byte code cached.

    python benchmarks/startup.py [--runs 20] [--json] [--strict]

Builds the wheel, installs it into a fresh virtual environment, compiles everything once, then runs each command in
turn and gives medians. The bare interpreter is measured beside it, since no command can beat it on this machine.
`--strict` ends with 1 when a bar is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Milliseconds that each command may take.
BARS = {"--help": 200.0, "--version": 60.0}


def main() -> int:
    """Measure, print, and give the exit code."""
    parser = argparse.ArgumentParser(description="Measure how fast the command starts.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codexteam-startup-") as folder:
        python = install(Path(folder))
        command = python.with_name("codexteam")
        medians = measure(
            {"interpreter": [str(python), "-c", "pass"], **{flag: [str(command), flag] for flag in BARS}}, options.runs
        )
    if options.json:
        print(json.dumps({"runs": options.runs, "median_ms": medians, "bars_ms": BARS}))
    else:
        print(f"median of {options.runs} runs, milliseconds")
        for name, milliseconds in medians.items():
            bar = f"  (bar {BARS[name]:.0f})" if name in BARS else ""
            print(f"  {name:<12} {milliseconds:7.1f}{bar}")
    missed = [name for name, bar in BARS.items() if medians[name] > bar]
    if missed:
        print(f"over the bar: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.strict else 0


def install(folder: Path) -> Path:
    """Give the interpreter of a fresh environment with the wheel and its dependencies, byte code compiled."""
    environment = folder / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    python = environment / "bin" / "python"
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)])
    [wheel] = folder.glob("codexteam-*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-warn-script-location"]
    run([*pip, "--disable-pip-version-check", str(wheel)])
    [packages] = environment.glob("lib/python3*/site-packages")
    run([str(python), "-m", "compileall", "-q", str(packages)])
    return python


def measure(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Give each command's median in milliseconds; they take turns, so that a busy moment hits all of them."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, argv in commands.items():
            started = time.perf_counter()
            subprocess.run(argv, env=plain, stdout=subprocess.DEVNULL, check=True, cwd="/")
            if number > 0:  # the first round fills the disk's cache
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def run(argv: list[str]) -> None:
    """Run a step of the preparation."""
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=None)


if __name__ == "__main__":
    sys.exit(main())
