"""Runs the relay in a sandbox's network, and nothing else of the sandbox: a program of its own, run by our interpreter.

Outside the sandbox's process namespace, so that nothing inside can kill it. It carries bytes between the sandbox's
loopback interface and its own standard streams, as an unprivileged user. Its one argument is a JSON object:
`namespaces` (descriptors), `uid` and `gid` to become (null: stay), `relay` (the program's file) and `port`.
"""

import ctypes
import json
import os
import runpy
import sys

_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Join the network, give up all rights, relay until the standard input ends."""
    settings = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    program = runpy.run_path(settings["relay"])  # while its file can be read
    for descriptor in settings["namespaces"]:
        if libc.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        os.close(descriptor)
    if settings["uid"] is not None:
        os.setgroups([])
        os.setresgid(settings["gid"], settings["gid"], settings["gid"])
        os.setresuid(settings["uid"], settings["uid"], settings["uid"])
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    sys.argv = ["relay", json.dumps({"port": settings["port"], "socket": None})]
    program["main"]()


if __name__ == "__main__":
    main()
