"""The command `codexteam`, and `python -m codexteam`."""

import gc
import os
import sys

from codexteam import __version__

#: New objects before the collector looks for cycles among them. The interpreter's own 700 has it look hundreds of times
#: while modules are imported, which make hardly any.
_OBJECTS_BETWEEN_COLLECTIONS = 25_000


def _hold_closed_streams() -> None:
    """Give each closed standard stream a place that takes everything, and continue without it.

    Else the next file that opens, such as the store, would get its number and be written into.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - for as long as the process lives


def main() -> int:
    """Run the command line and give the process's exit code.

    The version is answered before anything else is imported: scripts and completions ask for it often.
    """
    _hold_closed_streams()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"codexteam {__version__}\n")
        return 0
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from codexteam.cli.main import run
    except KeyboardInterrupt:  # nothing has begun
        return 130
    code = run(arguments)
    signals = sys.modules.get("codexteam.app.signals")  # not there: nothing was run that a signal could have ended
    if signals is None:
        return code
    written = True
    for stream in (sys.stdout, sys.stderr):  # what leaves at once flushes nothing
        try:
            stream.flush()
        except OSError:
            written = False
    left: int = signals.leave(code, at_once=written)
    return left


if __name__ == "__main__":
    sys.exit(main())
