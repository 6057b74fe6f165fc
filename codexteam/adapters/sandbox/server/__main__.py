"""Runs the server until the host ends the channel."""

from __future__ import annotations

import json
import os
import signal
import sys

from .loop import Server


def main() -> None:
    server = Server(json.loads(sys.argv[1]))
    server.start()
    server.loop()
    if server.alone:
        os.kill(-1, signal.SIGKILL)


if __name__ == "__main__":
    main()
