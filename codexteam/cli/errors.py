"""The one error boundary: what a command raises becomes a message on stderr and an exit code."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import typer

from codexteam.core.text import clean
from codexteam.errors import CodexteamError, Interrupted, SurroundingsError, is_reported

#: What a shell reports for a process that SIGINT ended.
INTERRUPTED = 130
#: The disk's own ways of refusing: full, over quota, read-only, broken.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a command failed; `shown` replaces message and hint."""

    message: str
    hint: str
    code: int
    shown: str = ""

    def show(self, *, json_lines: bool, runner_reads: bool) -> int:
        """Tell people, and programs that asked for JSON Lines; give the exit code."""
        text = self.shown or f"error: {clean(self.message)}\n" + (f"hint: {clean(self.hint)}\n" if self.hint else "")
        if runner_reads:
            from codexteam.views.ci.log_commands import inert

            text = inert(text)
        _write(text)
        if json_lines:
            from codexteam.views.streams import end_in_failure

            end_in_failure(sys.stdout, self.message, self.hint, self.code)
        return self.code


def run_guarded(
    action: Callable[[], object],
    environment: Mapping[str, str],
    *,
    json_lines: bool = False,
    runner_reads: bool = False,
) -> int:
    """Run a command and give its exit code; every way of failing ends in a message of one shape.

    Args:
        action: The command; an integer it returns is the exit code, anything else means 0.
        environment: `CODEXTEAM_DEBUG` set to anything shows tracebacks of unexpected errors.
        json_lines: Whether standard output is for programs: then a failure is its last record too, unless the command
            has ended its lines with one of its own.
        runner_reads: Whether a pipeline's runner reads what is printed, and would obey commands to it.
    """
    reported = False
    try:
        result = action()
        sys.stdout.flush()  # not at the interpreter's end, where a closed pipe could only be complained of
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # the parser's way of taking it
            return _reader_gone()
        raise
    except (KeyboardInterrupt, typer.Abort, Interrupted) as error:
        code = error.exit_code if isinstance(error, Interrupted) else INTERRUPTED
        failure = _Failure("interrupted", "", code, "interrupted\n")
    except CodexteamError as error:
        failure, reported = _Failure(str(error), error.hint, error.exit_code), is_reported(error)
    except typer.exceptions.TyperException as error:
        # a wrong command line: the parser knows best how to show usage
        show = getattr(error, "show", None)
        if callable(show):
            said = io.StringIO()
            show(file=said)
            # the parser's own begins with a capital, all of ours do not
            shown = clean(re.sub("^Error: ", "error: ", said.getvalue(), flags=re.MULTILINE))
            failure = _Failure(error.format_message(), "", error.exit_code, shown)
        else:
            failure = _Failure(error.format_message(), "", error.exit_code)
    except OSError as error:
        failure = _full_output(error) or (_disk(error) if error.errno in _DISK else _unexpected(error, environment))
        reported = is_reported(error)
    except RecursionError as error:
        failure, reported = _unexpected(error, environment), is_reported(error)
    except Exception as error:  # noqa: BLE001 - the boundary: nothing gets past it
        failure, reported = _unexpected(error, environment), is_reported(error)
    else:
        return result if isinstance(result, int) else 0
    return failure.show(json_lines=json_lines and not reported, runner_reads=runner_reads)


def _full_output(error: OSError) -> _Failure | None:
    """Say that standard output took no more; None where something else failed."""
    if error.filename is not None or error.errno not in _DISK or sys.stdout.isatty():
        return None
    try:  # it says so again, if it was the one
        os.write(sys.stdout.fileno(), b"\n")
    except OSError as refused:
        from codexteam.views.streams import reader_gone

        reader_gone(sys.stdout)  # nor at the interpreter's end
        hint = "what was asked for is not printed in full; nothing else is wrong"
        return _Failure(f"standard output: {refused.strerror}", hint, SurroundingsError.exit_code)
    return None


def _disk(error: OSError) -> _Failure:
    """Say what the disk did not take; wherever it was, the state file has all that was acted on."""
    where = f"{error.filename}: " if error.filename else ""
    hint = "make room, or give another folder with --state-dir; `codexteam resume` continues a run"
    return _Failure(f"{where}{error.strerror}", hint, SurroundingsError.exit_code)


def _reader_gone() -> int:
    """End quietly: the reader of our output, such as `head`, has seen enough."""
    from codexteam.views.streams import reader_gone

    return reader_gone(sys.stdout)


def _write(text: str) -> None:
    """Write to standard error; where nobody can read it any more, the exit code still says how it ended."""
    with suppress(OSError):
        sys.stderr.write(text)


def _unexpected(error: BaseException, environment: Mapping[str, str]) -> _Failure:
    import traceback

    what = clean(str(error)).splitlines()
    line = f"unexpected {type(error).__name__}" + (f": {what[0]}" if what else "")
    report = "".join(traceback.format_exception(error))
    if environment.get("CODEXTEAM_DEBUG"):
        _write(clean(report))
        return _Failure(line, "this is a bug in codexteam; please report it with the traceback above", 1)
    kept = _keep(report)
    hint = f"this is a bug in codexteam; please report it with {kept}" if kept else "set CODEXTEAM_DEBUG=1 to see where"
    return _Failure(line, hint, 1)


def _keep(report: str) -> str:
    """Write the traceback to a file that only the user can read, and give its path, or nothing on a full disk."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="codexteam-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(report)
    except OSError:
        return ""
    return file.name
