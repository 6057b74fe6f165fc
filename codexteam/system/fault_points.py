"""Named places where a test can end the process as a power cut would: around every effect and every write.

Off, a place costs one call of an empty function. `CODEXTEAM_FAULT_POINT=17` sends SIGKILL at the 17th place that is
reached, `CODEXTEAM_FAULT_POINT=store.commit.after#3` when that one is reached for the third time, with a comma between them
whichever comes first;
`CODEXTEAM_FAULT_RECORD=FILE` writes the names of all places reached, a line each. Nothing but tests sets these.
"""

import itertools
import os
import signal
from collections.abc import Callable, Mapping

from codexteam.config.request import read_environment

POINT_VARIABLE = "CODEXTEAM_FAULT_POINT"
RECORD_VARIABLE = "CODEXTEAM_FAULT_RECORD"


def _nothing(_name: str) -> None:
    """Continue."""


def make_reach(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return what is done at a place, which is nothing where the environment does not ask for faults."""
    wanted = set(environment.get(POINT_VARIABLE, "").split(",")) - {""}
    record = environment.get(RECORD_VARIABLE, "")
    if not wanted and not record:
        return _nothing
    counter = itertools.count(1)  # its next() is one step, also between threads
    of_name: dict[str, itertools.count[int]] = {}

    def reached(name: str) -> None:
        here = next(counter)
        time = next(of_name.setdefault(name, itertools.count(1)))
        hit = not wanted.isdisjoint({str(here), f"{name}#{time}"})
        if record:
            # one write to an open-append descriptor: lines of several threads do not mix, and are there after a kill
            with open(record, "ab", buffering=0) as file:  # noqa: PTH123 - as plain as can be
                file.write(f"{here} {name}{' *' if hit else ''}\n".encode())
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


#: Called with the place's name, such as `store.commit`; every place is a name of its own.
reach: Callable[[str], None] = make_reach(read_environment())
