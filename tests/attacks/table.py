# ruff: noqa: E501 - probes are programs of their own
"""Attacks from inside a sandbox: what each tries, and how its success would be seen from outside.

A probe is Python run in the sandbox. It prints `HELD` and what happened, or `BREACH` and what it got; printing neither
is a failure too (the tool was not there, the probe broke). Besides that, `Witness` looks from outside after every one.
Words in double angle brackets are filled in from the witness.
"""

import asyncio
import re
import signal
import textwrap
from dataclasses import dataclass

from codexteam.config.settings import SandboxLimits
from codexteam.ports.sandbox import Command, Sandbox
from tests.attacks.witness import Witness

#: What every attack is run under: small, so that the test machine does not feel it.
LIMITS = SandboxLimits(
    memory_bytes=400 << 20,
    cpus=1.0,
    max_processes=64,
    workspace_bytes=48 << 20,
    workspace_files=3_000,
    tmp_bytes=16 << 20,
    max_file_bytes=40 << 20,
    output_bytes=2 << 20,
)


@dataclass(frozen=True)
class Attack:
    """One attack."""

    name: str
    tries: str
    probe: str
    """Python, or a shell line when it begins with `sh: `."""
    ends: str = "says"
    """How it must end: it `says` HELD; `survives`: whatever it ends with, the sandbox works on afterwards;
    `late`: its deadline ends it; `loud`: its output does."""
    timeout_seconds: float = 20.0
    without: str = ""
    """What has to be limited for it to be contained: `memory`, `processes`, ...; else it is not tried."""

    def command(self, witness: Witness) -> Command:
        """Give it as a command."""
        text = re.sub(r"<<(\w+)>>", lambda match: witness.words()[match.group(1)], self.probe)
        if text.startswith("sh: "):
            return Command(("bash", "-c", text[4:]), timeout_seconds=self.timeout_seconds)
        program = _PRELUDE + textwrap.dedent(text)
        return Command(("python3", "-I", "-c", program), timeout_seconds=self.timeout_seconds)


_PRELUDE = """
import ctypes, errno, glob, os, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def syscall(x86, arm, *args):
    number = x86 if os.uname().machine == "x86_64" else arm
    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return done, errno.errorcode.get(ctypes.get_errno(), "?") if done == -1 else ""
def denied(what, done, why):
    print("HELD %s: %s" % (what, why) if done == -1 else "BREACH %s gave %s" % (what, done))
def fails(what, function, *args):
    try:
        print("BREACH %s gave %r" % (what, function(*args)))
    except Exception as error:
        print("HELD %s: %r" % (what, error))
def read(path):
    with open(path, "rb") as file:
        return file.read(200_000)
"""

ATTACKS: tuple[Attack, ...] = (
    # network
    Attack(
        "tcp-out",
        "connect to the internet",
        "fails('tcp', socket.create_connection, ('192.0.2.1', 80), 3)\n"
        "fails('dns', socket.getaddrinfo, 'example.org', 80)",
    ),
    Attack(
        "tcp-host",
        "connect to a server on the host's loopback",
        "fails('tcp', socket.create_connection, ('127.0.0.1', <<port>>), 3)",
    ),
    Attack(
        "interfaces",
        "find a network interface",
        "names = [name for _, name in socket.if_nameindex()]\nprint('HELD' if names == ['lo'] else 'BREACH', names)",
    ),
    Attack(
        "abstract-socket",
        "connect to the host's sockets that have no file",
        "s = socket.socket(socket.AF_UNIX)\nfails('abstract', s.connect, '\\0<<abstract>>')",
    ),
    Attack(
        "vsock", "open a socket to the hypervisor (AF_VSOCK)", "fails('vsock', socket.socket, 40, socket.SOCK_STREAM)"
    ),
    Attack("alg", "open a kernel crypto socket (AF_ALG)", "fails('alg', socket.socket, 38, socket.SOCK_SEQPACKET)"),
    Attack("packet", "open a raw packet socket", "fails('packet', socket.socket, 17, socket.SOCK_RAW)"),
    Attack("raw-ip", "open a raw IP socket", "fails('raw', socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)"),
    # secrets and the host's files
    Attack(
        "environment",
        "read secrets from the environment and command line of any process",
        """
        text = repr(dict(os.environ)).encode()
        for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):
            if path.split('/')[2] != str(os.getpid()):
                try:
                    text += read(path)
                except OSError:
                    pass
        bad = [word for word in (b'OPENAI', b'API_KEY', b'AWS_', b'<<shared>>') if word in text]
        print('BREACH' if bad else 'HELD', bad, text)
        """,
    ),
    Attack(
        "host-file",
        "read and write a file of the host by its path",
        "fails('read', read, '<<canary>>')\nfails('write', open, '<<canary>>', 'a')\n"
        "fails('root', os.stat, '/proc/1/root<<canary>>')",
    ),
    Attack(
        "homes",
        "look into the homes of the host",
        "found = [p for p in ('/root/.ssh', '/root/.bashrc', '/home/user', '/etc/shadow', '/var/log/dpkg.log', '/boot/grub') "
        "if os.access(p, os.R_OK)]\nprint('BREACH' if found else 'HELD', found)",
    ),
    Attack(
        "engine-socket",
        "talk to a container engine",
        "found = [p for p in ('/var/run/docker.sock', '/run/docker.sock', '/run/podman/podman.sock', "
        "'/run/containerd/containerd.sock') if os.path.exists(p)]\nprint('BREACH' if found else 'HELD', found)",
    ),
    Attack(
        "symlink-escape",
        "leave the workspace through a link",
        "os.symlink('<<folder>>', 'away')\nfails('write', open, 'away/planted', 'w')\nfails('read', read, 'away/canary')",
    ),
    Attack(
        "server-memory",
        "read or take over the server: its memory, its descriptors",
        "for name in ('mem', 'environ', 'maps'):\n"
        "    fails(name, read, '/proc/1/' + name)\n"
        "fails('fd', os.listdir, '/proc/1/fd')\n"
        "fails('fd 1', open, '/proc/1/fd/1', 'wb')\n"
        "fails('root', os.listdir, '/proc/1/root')",
    ),
    Attack("shared-memory", "see the host's shared memory", "fails('shm', read, '/dev/shm/<<shared>>')"),
    Attack(
        "shared-memory-write",
        "fill shared memory",
        """
        def fill():
            for number in range(20):
                with open(f'/dev/shm/{number}', 'wb') as file:
                    for _ in range(16):
                        file.write(b'x' * (1 << 20))
        fails('fill', fill)
        """,
    ),
    Attack(
        "devices",
        "open the host's disks and memory, make a device",
        "found = [p for p in glob.glob('/dev/[svx]d[a-z]*') + glob.glob('/dev/vd*') + ['/dev/mem', '/dev/kmsg', '/dev/kvm', "
        "'/dev/fuse'] if os.path.exists(p)]\nprint('BREACH' if found else 'HELD', found)\n"
        "fails('mknod', os.mknod, '/tmp/disk', 0o60666, os.makedev(8, 0))",
    ),
    Attack(
        "kernel-settings",
        "change the kernel's settings",
        "fails('core_pattern', open, '/proc/sys/kernel/core_pattern', 'w')\n"
        "fails('sysrq', open, '/proc/sysrq-trigger', 'w')\n"
        "fails('release_agent', open, '/sys/fs/cgroup/release_agent', 'w')",
    ),
    Attack(
        "system-files",
        "change the programs that other sandboxes run",
        "for path in ('/usr/bin/git', '/bin/sh', '/etc/passwd', '/etc/ld.so.cache', '/usr/lib/planted', '/planted'):\n"
        "    fails(path, open, path, 'ab')",
    ),
    Attack(
        "other-processes",
        "see or signal the host's processes",
        "fails('signal', os.kill, <<pid>>, 9) if <<pid>> > 1000 else print('HELD')\n"
        "pids = [int(n) for n in os.listdir('/proc') if n.isdigit()]\n"
        "print('HELD' if len(pids) < 10 else 'BREACH', pids)",
    ),
    Attack(
        "other-workspaces",
        "find the workspaces of other agents, and the state folder",
        "found = [l for l in read('/proc/self/mountinfo').decode().splitlines() "
        "if any(w in l.split(' - ')[0] for w in ('/state', '/bases/', 'volumes'))"
        " and ' /work ' not in l and ' /run/codexteam/base' not in l]\n"
        "print('BREACH' if found else 'HELD', found)\n"
        "fails('state', os.listdir, '<<folder>>/../state')",
    ),
    # rights
    Attack(
        "rights",
        "have any right: capabilities, root, new privileges, no filter",
        "facts = dict(l.split(':\\t', 1) for l in read('/proc/self/status').decode().splitlines() if ':\\t' in l)\n"
        "got = [facts[n].strip() for n in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb')], facts['NoNewPrivs'], facts['Seccomp'], os.getuid()\n"
        "ok = all(int(c, 16) == 0 for c in got[0]) and got[1] == '1' and got[2] == '2' and got[3] != 0\n"
        "print('HELD' if ok else 'BREACH', got)",
    ),
    Attack(
        "setuid",
        "become root",
        "fails('setuid', os.setuid, 0)\nfails('setgroups', os.setgroups, [0])\n"
        "found = subprocess.run(['sh', '-c', 'su root -c id </dev/null; mount; sudo -n id'], capture_output=True).stdout\n"
        "print('BREACH' if b'uid=0' in found else 'HELD', 'su')",
    ),
    Attack(
        "own-setuid-file",
        "make a setuid file and run it",
        "import shutil\nshutil.copy('/usr/bin/id', 'mine')\nos.chmod('mine', 0o6755)\n"
        "said = subprocess.run(['./mine', '-u'], capture_output=True).stdout\n"
        "print('HELD' if said.strip() not in (b'0', b'') else 'BREACH', said)",
    ),
    Attack(
        "user-namespace",
        "make a user namespace",
        "denied('unshare', *syscall(272, 97, 0x10000000))\ndenied('clone', *syscall(56, 220, 0x10000011, 0, 0, 0, 0))",
    ),
    Attack(
        "other-namespaces",
        "make mount, PID and network namespaces",
        "for flag in (0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000):\n    denied(hex(flag), *syscall(272, 97, flag))",
    ),
    Attack(
        "clone3",
        "make a namespace by clone3",
        "denied('clone3', *syscall(435, 435, ctypes.create_string_buffer(88), 88))",
    ),
    Attack(
        "mount",
        "mount anything",
        "denied('mount', *syscall(165, 40, b'none', b'/tmp', b'tmpfs', 0, 0))\ndenied('fsopen', *syscall(430, 430, b'tmpfs', 0))\ndenied('open_tree', *syscall(428, 428, -100, b'/', 1))\ndenied('umount', *syscall(166, 39, b'/work', 2))",
    ),
    Attack(
        "pivot",
        "change the root folder",
        "fails('chroot', os.chroot, '/work')\ndenied('pivot_root', *syscall(155, 41, b'/work', b'/work'))",
    ),
    Attack(
        "setns",
        "join another namespace",
        "fd = os.open('/proc/self/ns/net', os.O_RDONLY)\ndenied('setns', *syscall(308, 268, fd, 0))",
    ),
    # the kernel's surface
    Attack(
        "io-uring",
        "use io_uring, which goes past filters",
        "denied('io_uring', *syscall(425, 425, 8, ctypes.create_string_buffer(120)))",
    ),
    Attack(
        "ptrace",
        "trace another process",
        "child = os.fork()\nif child == 0: time.sleep(5); os._exit(0)\ndenied('attach', *syscall(101, 117, 16, child, 0, 0))\ndenied('server', *syscall(101, 117, 16, 1, 0, 0))\nos.kill(child, 9)",
    ),
    Attack(
        "process-memory",
        "write another process's memory",
        "denied('writev', *syscall(311, 271, 1, 0, 0, 0, 0, 0))\ndenied('readv', *syscall(310, 270, 1, 0, 0, 0, 0, 0))\ndenied('getfd', *syscall(438, 438, 3, 0, 0))",
    ),
    Attack(
        "keys",
        "use the kernel's keyrings, which know no namespaces",
        "denied('add_key', *syscall(248, 217, b'user', b'x', b'y', 1, -3))\ndenied('keyctl', *syscall(250, 219, 0, -3, 1))\ndenied('request_key', *syscall(249, 218, b'user', b'x', 0, 0))",
    ),
    Attack(
        "bpf",
        "load a program into the kernel",
        "denied('bpf', *syscall(321, 280, 0, ctypes.create_string_buffer(64), 64))\ndenied('perf', *syscall(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0))",
    ),
    Attack("userfaultfd", "hold kernel threads up", "denied('userfaultfd', *syscall(323, 282, 0))"),
    Attack(
        "file-handles",
        "open files of the host by handle",
        "denied('open_by_handle_at', *syscall(304, 265, -100, ctypes.create_string_buffer(136), 0))",
    ),
    Attack(
        "modules",
        "load a kernel module or another kernel",
        "denied('init_module', *syscall(175, 105, b'', 0, b''))\ndenied('kexec', *syscall(246, 104, 0, 0, 0, 0))\ndenied('reboot', *syscall(169, 142, 0xfee1dead, 672274793, 0, 0))",
    ),
    Attack(
        "clock-and-name",
        "set the clock or the host's name",
        "denied('clock', *syscall(227, 112, 0, ctypes.create_string_buffer(16)))\ndenied('name', *syscall(170, 161, b'x', 1))",
    ),
    Attack(
        "old-calls",
        "call the kernel by the x32 or the 32-bit numbers",
        "if os.uname().machine == 'x86_64':\n    denied('x32 getpid', *syscall(0x40000000 + 39, 0))\n"
        "    denied('x32 ptrace', *syscall(0x40000000 + 521, 0))\nelse: print('HELD')",
    ),
    Attack(
        "terminal",
        "type into the user's terminal (TIOCSTI)",
        """
        import fcntl, pty
        fails('tty', open, '/dev/tty', 'rb')
        ours, theirs = pty.openpty()
        for call in (0x5412, 0x541C):
            fails(hex(call), fcntl.ioctl, theirs, call, b'x')
        """,
    ),
    # using things up
    Attack(
        "fork-bomb",
        "start processes without end",
        "sh: bomb() { bomb | bomb & }; bomb; sleep 3",
        ends="survives",
        without="processes",
    ),
    Attack(
        "fork-hold",
        "hold as many processes as there can be",
        """
        count = 0
        try:
            while count < 5000:
                if os.fork() == 0:
                    time.sleep(10)
                    os._exit(0)
                count += 1
        except OSError as error:
            print('HELD', count, error)
        else:
            print('BREACH', count)
        """,
        without="processes",
    ),
    Attack(
        "memory",
        "take all memory",
        "try:\n    hog = []\n    while True: hog.append(b'x' * (16 << 20))\nexcept MemoryError: print('HELD')",
        ends="survives",
        without="memory",
    ),
    Attack(
        "memory-together",
        "take all memory with many small processes",
        "sh: for i in 1 2 3 4 5 6 7 8; do python3 -c \"x = b'x' * (100 << 20); import time; time.sleep(3)\" & done; wait",
        ends="survives",
        without="memory",
    ),
    Attack(
        "disk",
        "fill the disk",
        """
        def fill(folder):
            for number in range(200):
                with open(f'{folder}/{number}', 'wb') as file:
                    for _ in range(4):
                        file.write(b'x' * (1 << 20))
        for folder in ('/work', '/tmp'):
            fails(folder, fill, folder)
        subprocess.run('rm -f /work/[0-9]* /tmp/[0-9]*', shell=True)
        """,
    ),
    Attack(
        "file-size",
        "write one file larger than allowed",
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def fill():
            with open('/work/big', 'wb') as file:
                file.truncate(<<toolarge>>)
        fails('big', fill)
        """.replace("<<toolarge>>", str(LIMITS.max_file_bytes + 1)),
    ),
    Attack(
        "inodes",
        "make files without end",
        """
        def fill():
            for number in range(20_000):
                open(f'/work/i{number}', 'w').close()
        fails('inodes', fill)
        subprocess.run('rm -f /work/i*', shell=True)
        """,
    ),
    Attack("output", "print without end", "sh: yes", ends="loud"),
    Attack("one-line", "print one line without end", "sh: tr '\\0' x </dev/zero", ends="loud"),
    # outliving
    Attack(
        "daemon",
        "leave a daemon that gave up its session, group, environment and parent",
        "sh: env -i setsid -f sleep 7654; (setsid nohup sleep 7654 >/dev/null 2>&1 &); echo HELD",
    ),
    Attack(
        "ignored-term",
        "ignore every signal that can be",
        "sh: trap '' TERM INT HUP QUIT; while :; do sleep 7654; done",
        ends="late",
        timeout_seconds=1.0,
    ),
    Attack("stopped", "stop every process, the server too", "sh: kill -STOP -1; kill -STOP 1; echo HELD"),
    Attack(
        "kill-all",
        "kill every process, the server too",
        "sh: sleep 7654 & kill -9 -1; kill -9 1; echo HELD",
        ends="survives",
    ),
    Attack(
        "signal-storm",
        "send the server every signal there is",
        "sh: for s in $(seq 1 64); do kill -$s 1 2>/dev/null; done; echo HELD",
        ends="survives",
    ),
    Attack(
        "forged-answer",
        "answer the host in the server's place",
        "import struct, json\nhead = json.dumps({'id': 1, 'kind': 'result', 'exit_code': 0}).encode()\n"
        "frame = struct.pack('>II', len(head), 0) + head\n"
        "for path in glob.glob('/proc/[0-9]*/fd/[0-9]*') + ['/proc/1/fd/0', '/proc/1/fd/1']:\n"
        "    if path.split('/')[2] == str(os.getpid()): continue\n"
        "    try:\n"
        "        with open(path, 'wb', buffering=0) as file: file.write(frame)\n"
        "    except OSError: continue\n"
        "fails('fd', open, '/proc/1/fd/1', 'wb')",
    ),
)


def by_name(name: str) -> Attack:
    """Give one attack."""
    return next(attack for attack in ATTACKS if attack.name == name)


async def try_attack(attack: Attack, sandbox: Sandbox, witness: Witness) -> str:
    """Run one; give what happened, in a line.

    Raises:
        AssertionError: it was not contained.
    """
    async with asyncio.timeout(attack.timeout_seconds + 60):
        result = await sandbox.run(attack.command(witness))
    said = result.output.decode("utf-8", "replace")
    if attack.ends == "says":
        # a filter may also kill who makes a call of a foreign architecture
        assert "HELD" in said or result.signal == signal.SIGSYS, f"it said nothing of the kind: {result}"
    elif attack.ends == "late":
        assert result.timed_out, result
    elif attack.ends == "loud":
        assert result.killed_for_output, result
        assert len(result.output) <= 2 << 20
    assert "BREACH" not in said, said
    breaches = witness.breaches(result.output)
    assert not breaches, breaches
    look = Command(("bash", "-c", "echo alive; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
    async with asyncio.timeout(60):
        after = await sandbox.run(look)
    assert after.output.startswith(b"alive\n"), after
    try:
        async with asyncio.timeout(30):  # what was killed is gone when it is next given a processor
            while b"sleep 7654" in (await sandbox.run(look)).output:
                pass
    except TimeoutError:
        raise AssertionError("a process outlived its command") from None
    lines = [line for line in said.splitlines() if line.startswith("HELD")]
    how = f"exit {result.exit_code}, signal {result.signal}"
    how = "killed at its deadline" if result.timed_out else how
    how = "killed for its output" if result.killed_for_output else how
    return "; ".join(lines)[:160] or how
