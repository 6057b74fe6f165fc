"""Jobs are git's work: each runs in a child of the server, so that commands keep running meanwhile."""

from __future__ import annotations

import json
import os
import signal

from .files import write_all
from .protocol import CHUNK, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .protocol import Json
    from .running import Running


def fork_job(work: Callable[[Json], Json], args: Json) -> tuple[int, int, int, int]:
    """Start a job; return its process and our ends of its output, its input and the pipe for its answer."""
    their_in, our_in = os.pipe()
    our_out, their_out = os.pipe()
    our_reply, their_reply = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for descriptor in (their_in, our_in, our_out, their_out, our_reply, their_reply):
            os.close(descriptor)
        raise
    if pid == 0:
        be_job(work, args, their_in, their_out, their_reply)
    for descriptor in (their_in, their_out, their_reply):
        os.close(descriptor)
    return pid, our_out, our_in, our_reply


def be_job(work: Callable[[Json], Json], args: Json, source: int, sink: int, reply: int) -> None:
    """Do a job in the child, with pipes for its standard streams, and end."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.closerange(3, reply)  # its own end of its input among them, which would never end
        os.closerange(reply + 1, 65536)
        try:
            answer = work(args)
        except Exception as error:  # goes to the host as its answer
            answer = refusal(error)
        write_all(reply, json.dumps(answer).encode("ascii"))
        code = 0
    finally:
        os._exit(code)


def job_answer(run: Running, number: int | None) -> Json:
    """Return what a job that has ended answers; `number` is the signal that ended it."""
    text = b""
    while True:
        data = os.read(run.job_reply, CHUNK)
        if not data:
            break
        text += data
    os.close(run.job_reply)
    if run.timed_out:
        return {"kind": "error", "error": "git", "message": "git did not end in time"}
    if not text:
        return {"kind": "error", "error": "git", "message": f"the job was killed by signal {number}"}
    answer: Json = json.loads(text.decode("ascii"))
    return answer
