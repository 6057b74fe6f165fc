"""The command `codexteam`, and `python -m codexteam`."""

import sys

from codexteam import __version__


def main() -> int:
    """Run the command line and give the process's exit code.

    The version is answered before anything else is imported: scripts and completions ask for it often.
    """
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"codexteam {__version__}\n")
        return 0
    try:
        from codexteam.cli.main import run
    except KeyboardInterrupt:  # nothing has begun
        return 130
    code = run(arguments)
    signals = sys.modules.get("codexteam.app.signals")  # not there: nothing was run that a signal could have ended
    return signals.leave(code) if signals else code


if __name__ == "__main__":
    sys.exit(main())
