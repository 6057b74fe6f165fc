"""Becomes a program that the kernel sends a signal when its starter has ended, however that ended: run by our interpreter.

What asks a model would else continue after the process that watches over it was killed: an app-server whose agents are
at work does not always end when its standard input does. The arguments are the starter's process id, the signal's name,
the program, and the program's arguments.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its starter, and become the program."""
    starter, number, program = int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != starter:
        sys.exit("the process that asked for this one has ended")  # before the kernel was asked to tell
    try:
        os.execv(program, sys.argv[3:])  # noqa: S606 - the user's own program, by its path
    except OSError as error:
        sys.exit(f"{program} cannot be started: {error.strerror}")


def bound_to_this_process(number: signal.Signals) -> tuple[str, ...]:
    """Return the words before a program that gets a signal when this process has ended."""
    return sys.executable, "-I", "-S", __file__, str(os.getpid()), number.name


if __name__ == "__main__":
    main()
