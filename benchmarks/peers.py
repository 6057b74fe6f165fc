"""This program against its peers: the same script through each of them, one after the other, over and over.

    python -m benchmarks.peers [--agents 64] [--repeats 5] [--codex BINARY] [--openai-agents-python PYTHON]
                               [--markdown FILE] [--picture FILE]

Each round runs `benchmarks.fanout` for every peer in a process of its own, and begins with another one than the round
before, so that what else the machine does meets all of them. A ratio is a peer's figure over this program's in the same
round; shown are medians. Peers: the bare `openai` client, the `openai-agents` package, the Codex CLI's own sub-agents,
and a `codex exec` for each agent. What is not installed is left out, and said.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.peers_page import Compared, Figures, markdown, picture

#: This program, then who it is held against: name for `--against`, and for people.
PEERS: Final[Mapping[str, str]] = {
    "": "codexteam",
    "client-alone": "bare openai client",
    "openai-agents": "openai-agents",
    "codex": "Codex sub-agents",
    "codex-exec": "codex exec, one each",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Who runs the script, and by which command."""

    name: str
    command: tuple[str, ...]


def order(count: int, repeat: int) -> list[int]:
    """Return in which order so many peers run in a round: each round begins with the next one."""
    return [(repeat + place) % count for place in range(count)]


def compared(names: Sequence[str], rounds: Sequence[Sequence[Figures]]) -> list[Compared]:
    """Return the medians over all rounds; the first of the names is what the others are held against."""
    found = []
    for place, name in enumerate(names):
        own = [each[place] for each in rounds]
        middle = Figures(
            median(each.wall_ratio for each in own),
            median(each.cpu_ms_a_turn for each in own),
            median(each.mb_an_agent for each in own),
        )
        walls = [each[place].wall_ratio / each[0].wall_ratio for each in rounds]
        cpus = [each[place].cpu_ms_a_turn / each[0].cpu_ms_a_turn for each in rounds]
        found.append(Compared(name, middle, median(walls), median(cpus)))
    return found


def _peers(arguments: argparse.Namespace) -> tuple[list[Peer], list[str]]:
    """Return who can run here, and a line for each who cannot."""
    load = ("--agents", str(arguments.agents), "--turns", str(arguments.turns))
    script = ("-m", "benchmarks.fanout", "--json", *load, "--turn-seconds", str(arguments.turn_seconds))
    found, left_out = [], []
    for against, name in PEERS.items():
        python, more = sys.executable, ("--against", against) if against else ()
        if against == "openai-agents":
            python = arguments.openai_agents_python or python
            if python == sys.executable and not _is_installed("openai-agents"):
                left_out.append(f"{name}: not installed: pip install openai-agents, or --openai-agents-python PYTHON")
                continue
        if against.startswith("codex"):
            if arguments.codex is None:
                left_out.append(f"{name}: no `codex` on the path: --codex BINARY")
                continue
            more += ("--codex", arguments.codex)
        found.append(Peer(name, (python, *script, *more)))
    return found, left_out


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _run(peer: Peer) -> Figures:
    """Run the script once.

    Raises:
        SystemExit: it did not come to its end.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(peer.command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{peer.name} ended with {done.returncode}: {' '.join(peer.command)}\n{done.stderr[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Figures(said["wall_ratio"], said["cpu_ms_a_turn"], said["mb_an_agent"])


def main() -> None:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="with a command each; the answer is one more")
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--codex", default=shutil.which("codex"), help="the native binary")
    parser.add_argument("--openai-agents-python", help="the interpreter of an environment that has the package as well")
    parser.add_argument("--markdown", type=Path, help="where the table is written")
    parser.add_argument("--picture", type=Path, help="where an SVG of it is written")
    arguments = parser.parse_args()
    peers, left_out = _peers(arguments)
    rounds: list[list[Figures]] = []
    for repeat in range(arguments.repeats):
        seen = {place: _run(peers[place]) for place in order(len(peers), repeat)}
        rounds.append([seen[place] for place in range(len(peers))])
        print(f"round {repeat + 1} of {arguments.repeats}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    found = compared([peer.name for peer in peers], rounds)
    conditions = (
        f"{arguments.agents} agents, {arguments.turns} turns with a command and one answer, "
        f"{arguments.turn_seconds:g} s a turn; medians of {arguments.repeats} rounds on {os.cpu_count()} cores"
    )
    table = markdown(found, conditions, left_out)
    print(table, end="")
    if arguments.markdown is not None:
        arguments.markdown.write_text(table, encoding="utf-8")
    if arguments.picture is not None:
        arguments.picture.write_text(picture(found, conditions), encoding="utf-8")


if __name__ == "__main__":
    main()
