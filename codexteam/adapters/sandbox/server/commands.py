"""Starts commands and jobs, carries their input and output, and answers the host when they have ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import struct
import subprocess
import termios
import time

from .files import write_file
from .host import BACKLOG
from .jobs import fork_job, job_answer
from .processes import Killer
from .protocol import CHUNK, RequestRefused
from .running import Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .host import HostLink
    from .protocol import Json

#: How long an output is waited for that something holds open after its command and all it left have been killed.
DRAIN_SECONDS = 0.5


class RunningCommands:
    """All that runs now."""

    def __init__(self, host: HostLink, selector: selectors.BaseSelector, *, output_cap: int, alone: bool) -> None:
        self.host = host
        self.selector = selector
        self.output_cap = output_cap
        self.running: dict[int, Running] = {}
        self.by_pid: dict[int, Running] = {}
        self.killer = Killer(self.running, self.by_pid, alone=alone)

    def start_command(self, number: int, header: Json, stdin: bytes) -> None:
        argv = [os.fsencode(word) for word in header["argv"]]
        env = {os.fsencode(name): os.fsencode(value) for name, value in header["env"].items()}
        env[b"CODEXTEAM_COMMAND"] = b"%d" % number
        tty, session = header.get("tty"), header.get("session")
        theirs = []
        ours = -1
        feed = -1
        try:
            if tty:
                ours, terminal = os.openpty()
                theirs.append(terminal)
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
                source = sink = terminal
                feed = os.dup(ours)
            else:
                ours, sink = os.pipe()
                theirs.append(sink)
                source = subprocess.DEVNULL
                if stdin or header.get("dialogue"):
                    source, feed = os.pipe()
                    theirs.append(source)

            def take_terminal() -> None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=sink,
                stderr=sink,
                cwd=os.fsencode(header["cwd"]),
                env=env,
                start_new_session=True,
                preexec_fn=take_terminal if tty else None,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            for descriptor in (ours, feed):
                if descriptor >= 0:
                    os.close(descriptor)
            code = 126 if isinstance(error, PermissionError) else 127
            text = ("codexteam: cannot run {}: {}\n".format(header["argv"][0], error)).encode("utf-8", "replace")
            reply = {"id": number, "kind": "result", "exit_code": code, "signal": None, "timed_out": False}
            self.host.send(dict(reply, output_bytes=len(text), wall=0.0, over_cap=False, left=0), text)
            return
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        process.returncode = 0  # it is reaped here, not by subprocess
        with contextlib.suppress(OSError):
            # when memory runs out, commands go before this program
            write_file(f"/proc/{process.pid}/oom_score_adj", b"500")
        run = Running(number, header, process.pid)
        self.adopt(run, ours, feed)
        if stdin:
            self.queue(run, stdin)
        if not session:
            run.close_stdin = not tty
            self.feed(run)

    def start_job(self, number: int, header: Json, work: Callable[[Json], Json]) -> None:
        pid, out, feed, reply = fork_job(work, header["args"])
        run = Running(number, {"timeout": header.get("timeout")}, pid)
        run.job_reply = reply
        run.close_stdin = not header.get("input")
        self.adopt(run, out, feed)
        self.feed(run)

    def adopt(self, run: Running, out: int, feed: int) -> None:
        run.out, run.stdin = out, feed
        self.running[run.number] = run
        self.by_pid[run.pid] = run
        os.set_blocking(out, False)
        self.selector.register(out, selectors.EVENT_READ, run)
        if feed >= 0:
            os.set_blocking(feed, False)

    def queue(self, run: Running, data: bytes) -> None:
        run.pending.append(data)
        run.pending_bytes += len(data)
        self.feed(run)

    def write_stdin(self, number: int, header: Json, body: bytes) -> None:
        run = self.running.get(number)
        if run is None or run.stdin < 0:
            return  # it ended meanwhile; its result is on the way
        if run.pending_bytes + len(body) > 64 << 20 and run.job_reply < 0:
            raise RequestRefused("value", "the command does not read its standard input")
        if header.get("eof"):
            run.close_stdin = True
        if body:
            self.queue(run, body)
        else:
            self.feed(run)
        if run.job_reply >= 0 and run.pending_bytes > BACKLOG:
            self.host.pause()  # a job always reads on or ends

    def feed(self, run: Running) -> None:
        if run.stdin < 0:
            return
        while run.pending:
            data = run.pending[0]
            try:
                done = os.write(run.stdin, data[:CHUNK])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.close_stdin(run)
                return
            run.pending_bytes -= done
            if done == len(data):
                run.pending.popleft()
            else:
                run.pending[0] = memoryview(data)[done:]
        registered = run.stdin in self.selector.get_map()
        if run.pending and not registered:
            self.selector.register(run.stdin, selectors.EVENT_WRITE, run)
        elif not run.pending:
            if registered:
                self.selector.unregister(run.stdin)
            if run.close_stdin:
                self.close_stdin(run)
        self.read_on(run)

    def read_on(self, run: Running) -> None:
        if run.pending_bytes < BACKLOG // 2:
            self.host.read_on()

    def close_stdin(self, run: Running) -> None:
        if run.stdin in self.selector.get_map():
            self.selector.unregister(run.stdin)
        os.close(run.stdin)
        run.stdin = -1
        run.pending.clear()
        run.pending_bytes = 0
        self.read_on(run)

    def read_output(self, run: Running) -> None:
        for _ in range(16):  # then the others have their turn
            try:
                data = os.read(run.out, CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # a terminal that nobody holds any more
                data = b""
            if not data:
                self.close_output(run)
                break
            if run.job_reply >= 0:
                self.host.send({"id": run.number, "kind": "data"}, data)
            else:
                if run.over_cap:
                    continue
                run.output.add(data)
                if run.stream:
                    self.host.send({"id": run.number, "kind": "data"}, data)
                if run.output.total > self.output_cap and not run.dialogue:
                    run.over_cap = True
                    self.killer.kill_tree(run, ended=False)
            if self.host.outgoing_bytes > BACKLOG and (run.stream or run.job_reply >= 0):
                self.host.held_up.add(run)
                self.selector.unregister(run.out)
                return
        self.finish_if_done(run)

    def close_output(self, run: Running) -> None:
        if run.out < 0:
            return
        if run.out in self.selector.get_map():
            self.selector.unregister(run.out)
        self.host.held_up.discard(run)
        os.close(run.out)
        run.out = -1

    def kill(self, number: int) -> None:
        if number in self.running:
            self.killer.kill_tree(self.running[number], ended=False)

    def kill_all(self) -> None:
        for run in list(self.running.values()):
            self.killer.kill_tree(run, ended=False)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self.by_pid.pop(pid, None)
            if run is None:
                continue
            run.status = status
            run.wall = time.monotonic() - run.started
            run.deadline = None
            run.left = self.killer.kill_tree(run, ended=True)
            run.drain_until = time.monotonic() + DRAIN_SECONDS
            if run.out >= 0 and run not in self.host.held_up:
                self.read_output(run)
            self.finish_if_done(run)

    def check_deadlines(self) -> None:
        now = time.monotonic()
        for run in list(self.running.values()):
            if run.drain_until is not None and now >= run.drain_until:
                run.drain_until = now + DRAIN_SECONDS
                if run.out >= 0 and run not in self.host.held_up:
                    # where this program or the host stood still, what was written in time has not been read yet
                    self.read_output(run)
                if run not in self.host.held_up:
                    self.close_output(run)
                self.finish_if_done(run)
            elif run.deadline is not None and now >= run.deadline:
                run.deadline = now + 1.0  # should something have escaped, once more
                run.timed_out = True
                self.killer.kill_tree(run, ended=False)

    def next_timeout(self) -> float | None:
        times = [run.drain_until or run.deadline or 0.0 for run in self.running.values()]
        times = [when for when in times if when]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def finish_if_done(self, run: Running) -> None:
        if run.status is None or run.out >= 0 or run.number not in self.running:
            return
        del self.running[run.number]
        if run.stdin >= 0:
            self.close_stdin(run)
        code = os.WEXITSTATUS(run.status) if os.WIFEXITED(run.status) else None
        number = os.WTERMSIG(run.status) if os.WIFSIGNALED(run.status) else None
        if run.job_reply >= 0:
            self.host.send(dict({"kind": "reply"}, id=run.number, **job_answer(run, number)))
            return
        ended = {"exit_code": None if run.timed_out or run.over_cap else code, "signal": number}
        reply = {"id": run.number, "kind": "result", "timed_out": run.timed_out, "output_bytes": run.output.total}
        body = b"" if run.session else run.output.value()
        self.host.send(dict(reply, wall=run.wall, over_cap=run.over_cap, left=run.left, **ended), body)
