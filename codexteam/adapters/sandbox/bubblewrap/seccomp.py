"""The system call filter: a small assembler for the kernel's classic BPF, and what is denied in every sandbox.

Numbers are the kernel's tables (`syscall_64.tbl` for x86_64, the generic table for aarch64).
"""

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
#: Calls of the x32 interface have this bit; they would pass by other numbers.
_X32_BIT = 0x40000000
#: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: enough for ordinary programs. VSOCK, ALG, PACKET, KEY, ... are not in it.
_FAMILIES = (1, 2, 10, 16)
#: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NEW_NAMESPACES = 0x7E020080
#: TIOCSTI types into a terminal, TIOCLINUX pastes into a console.
_TERMINAL_TRICKS = (0x5412, 0x541C)

#: Name to its number on x86_64 and on aarch64 (None where it is not there).
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262),
}
#: Programs fall back to something else when these are not there.
_MISSING: dict[str, tuple[int, int]] = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),
}


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    column: int
    socket: int
    socketpair: int
    clone: int
    unshare: int
    ioctl: int
    x32: bool


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, 0, 41, 53, 56, 272, 16, x32=True),
    "aarch64": _Architecture(0xC00000B7, 1, 198, 199, 220, 97, 29, x32=False),
}


@dataclass(frozen=True, slots=True)
class _Jump:
    """A comparison: on to one label or the other; an empty label is the next line."""

    code: int
    value: int
    yes: str = ""
    no: str = ""


@dataclass(frozen=True, slots=True)
class _Plain:
    code: int
    value: int


_Line = _Jump | _Plain | str


def _assemble(lines: Sequence[_Line]) -> bytes:
    """Turn lines into instructions; a string is a label for what follows it."""
    labels: dict[str, int] = {}
    count = 0
    for line in lines:
        if isinstance(line, str):
            labels[line] = count
        else:
            count += 1
    out = bytearray()
    at = 0
    for line in lines:
        match line:
            case str():
                continue
            case _Plain(code, value):
                out += struct.pack("=HBBI", code, 0, 0, value)
            case _Jump(code, value, yes, no):
                away = [labels[label] - at - 1 if label else 0 for label in (yes, no)]
                out += struct.pack("=HBBI", code, away[0], away[1], value)
        at += 1
    return bytes(out)


def _argument(index: int) -> int:
    return 16 + 8 * index  # the low half, on a little-endian machine


def _fail(number: int) -> _Plain:
    return _Plain(_RETURN, _ERRNO | number)


@cache
def filter_program(machine: str) -> bytes | None:
    """Return the filter for a machine as `platform.machine()` names it; None where its calls are not known to us."""
    kind = _ARCHITECTURES.get(machine)
    if kind is None:
        return None
    lines: list[_Line] = [
        _Plain(_LOAD, _ARCHITECTURE),
        _Jump(_JUMP_EQUAL, kind.audit, yes="native"),
        _fail(errno.ENOSYS),
        "native",
        _Plain(_LOAD, _NUMBER),
    ]
    if kind.x32:
        lines += [_Jump(_JUMP_GREATER_EQUAL, _X32_BIT, no="numbers"), _fail(errno.ENOSYS), "numbers"]
    for name, numbers in _DENIED.items():
        number = numbers[kind.column]
        if number is not None:
            lines += [_Jump(_JUMP_EQUAL, number, no=f"not-{name}"), _fail(errno.EPERM), f"not-{name}"]
    for name, present in _MISSING.items():
        lines += [_Jump(_JUMP_EQUAL, present[kind.column], no=f"not-{name}"), _fail(errno.ENOSYS), f"not-{name}"]
    for name, number in (("socket", kind.socket), ("socketpair", kind.socketpair)):
        lines += [_Jump(_JUMP_EQUAL, number, no=f"not-{name}"), _Plain(_LOAD, _argument(0))]
        lines += [_Jump(_JUMP_EQUAL, family, yes=f"allow-{name}") for family in _FAMILIES]
        lines += [_fail(errno.EAFNOSUPPORT), f"allow-{name}", _Plain(_RETURN, _ALLOW), f"not-{name}"]
    for name, number in (("clone", kind.clone), ("unshare", kind.unshare)):
        lines += [
            _Jump(_JUMP_EQUAL, number, no=f"not-{name}"),
            _Plain(_LOAD, _argument(0)),
            _Jump(_JUMP_ANY_BIT, _NEW_NAMESPACES, no=f"allow-{name}"),
            _fail(errno.EPERM),
            f"allow-{name}",
            _Plain(_RETURN, _ALLOW),
            f"not-{name}",
        ]
    lines += [_Jump(_JUMP_EQUAL, kind.ioctl, no="allow"), _Plain(_LOAD, _argument(1))]
    for trick in _TERMINAL_TRICKS:
        lines += [_Jump(_JUMP_EQUAL, trick, no=f"not-{trick}"), _fail(errno.EPERM), f"not-{trick}"]
    lines += ["allow", _Plain(_RETURN, _ALLOW)]
    return _assemble(lines)
