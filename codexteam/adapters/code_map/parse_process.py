"""Asks the process that takes files apart, and ends it when a file is too much for it."""

import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from codexteam.core.ids import JSONObject, JSONValue

_MODULE = "codexteam.adapters.code_map.parse_worker"
#: What one answer may hold.
_ANSWER_BYTES = 32 << 20
_READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class ParseFailed:
    """A file that could not be taken apart."""

    reason: str


#: What becomes of a file.
ParseResult: TypeAlias = "JSONValue | ParseFailed"


class ParseProcess:
    """One such process; started at the first use, and again after one that ended. For one thread at a time."""

    def __init__(self, *, seconds_per_file: float) -> None:
        """Take how long one file may keep it busy."""
        self._seconds = seconds_per_file
        self._process: subprocess.Popen[bytes] | None = None
        self._stack: ExitStack | None = None

    def ask(self, order: JSONObject, data: bytes) -> ParseResult:
        """Give it a file; what takes too long, or ends the process, is the file's fault alone."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({**order, "bytes": len(data)}).encode() + b"\n" + data)
            process.stdin.flush()
            line = self._line(process)
        except BrokenPipeError:
            line = b""
        except BaseException:
            self.close()
            raise
        if line is None or not line:
            self.close()
            return ParseFailed("it took too long" if line is None else "the parser ended while it read it")
        answer: JSONValue = json.loads(line)
        match answer:
            case {"problem": str(problem)}:
                return ParseFailed(problem)
            case _:
                return answer

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._stack = ExitStack()
            package_root = str(Path(__file__).parents[3])
            self._process = self._stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-B", "-m", _MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"PYTHONPATH": package_root, "LC_ALL": "C.UTF-8"},
                    start_new_session=True,
                )
            )
        return self._process

    def _line(self, process: "subprocess.Popen[bytes]") -> bytes | None:
        """Return its answer: None when none came in time, empty when it ended."""
        assert process.stdout is not None
        parts: list[bytes] = []
        size = 0
        until = time.monotonic() + self._seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, until - time.monotonic())):
                part = os.read(process.stdout.fileno(), _READ_BYTES)
                parts.append(part)
                size += len(part)
                if not part or size > _ANSWER_BYTES:
                    return b""
                if part.endswith(b"\n"):
                    return b"".join(parts)
        return None

    def close(self) -> None:
        """End it; may be repeated, and asking starts a new one."""
        process, self._process = self._process, None
        stack, self._stack = self._stack, None
        if process is not None and process.poll() is None:
            process.kill()
        if stack is not None:
            with suppress(BrokenPipeError):  # of what it did not read any more
                stack.close()
