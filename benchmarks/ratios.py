"""The short form of `benchmarks.peers`: what this program takes over the bare client, against what it took before.

    python -m benchmarks.ratios [--rounds 5] [--show]

Both run the same script in this very process, in turns, so that whatever else the machine does meets both. The median of
the rounds' ratios of processor time is held against what is written here: exits with 1 if it is as many times as large as
when something falls by a fifth. Wall time is shown alone: on a busy machine it says how busy that is.
"""

import argparse
import os
import sys
from statistics import median
from typing import Final

from benchmarks import fanout_client_alone
from benchmarks.fanout import ProcessInstrument, measure, model_server
from benchmarks.fanout_load import Load

#: This program's processor time over the bare client's, as it was measured when it was written here.
EXPECTED: Final = 2.9
#: Where the store is: what syncing a disk takes of the processor is several times as much on one disk as on another, and the
#: bare client has none of it.
_IN_MEMORY: Final = "/dev/shm"


def most_allowed(expected: float) -> float:
    """Return the ratio at which the bare client's share of ours has fallen by a fifth."""
    return expected / 0.8


def main() -> int:
    """Measure, print, and say by the exit code whether it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--show", action="store_true", help="print the ratios of each round")
    arguments = parser.parse_args()
    load = Load(
        agents=32, turns=4, turn_seconds=0.1, line="true", folder=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    )
    processor: list[float] = []
    wall: list[float] = []
    with model_server(load) as base_url:
        for _ in range(arguments.rounds):
            own = measure(base_url, load)
            bare = fanout_client_alone.measure(base_url, load, ProcessInstrument())
            processor.append(own.cpu_seconds / bare.cpu_seconds)
            wall.append(own.wall_seconds / bare.wall_seconds)
            if arguments.show:
                print(f"CPU {processor[-1]:.2f}  wall {wall[-1]:.2f}")
    found, most = median(processor), most_allowed(EXPECTED)
    print(f"over the bare client: CPU {found:.2f} (was {EXPECTED:.2f}, at most {most:.2f}), wall {median(wall):.2f}")
    return 1 if found > most else 0


if __name__ == "__main__":
    sys.exit(main())
