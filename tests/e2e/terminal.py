"""The command on a terminal of its own, into which a test types; and waiting for what a run tells."""

import os
import pty
import subprocess
import sys
import termios
import time

from tests.e2e.world import World


def until_told(world: World, *words: str, times: int = 1) -> None:
    """Wait until so many facts have all these words; the test's own limit ends it."""
    while True:
        lines = (line for path in world.state.glob("runs/*/events.jsonl") for line in path.read_text().splitlines())
        if sum(all(word in line for word in words) for line in lines) >= times:
            return
        time.sleep(0.05)


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, world: World, *arguments: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100))
        self._process = subprocess.Popen(
            # the terminal is its own, so that it is in the foreground there and is sent keys
            ["setsid", "--ctty", sys.executable, "-m", "codexteam", *arguments],
            cwd=world.repository,
            env=world.environment(**{"TERM": "dumb", **environment}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._shown = ""
        self._seen = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def wait_for(self, text: str) -> None:
        """Wait until something is shown that was not there before."""
        while text not in self._shown[self._seen :]:
            assert self._read(), f"no {text!r} in:\n{self._shown}"
        self._seen += self._shown[self._seen :].index(text) + len(text)

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt and type a line."""
        self.wait_for(prompt)
        os.write(self._ours, f"{line}\n".encode())

    def press(self, keys: str) -> None:
        """Type without a line's end."""
        os.write(self._ours, keys.encode())

    def end(self) -> tuple[str, int]:
        """Wait for the end; give all that was shown, and the exit code."""
        while self._read():
            pass
        return self._shown, self._process.wait(timeout=60)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # the other end is closed
            return False
        self._shown += data.decode(errors="replace")
        return bool(data)
