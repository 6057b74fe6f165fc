"""The system call filter, run by an interpreter of the kernel's instructions: what it says to single calls."""

import errno
import struct

import pytest

from codexteam.adapters.sandbox.bubblewrap.seccomp import filter_program

X86, ARM = 0xC000003E, 0xC00000B7
ALLOW = 0x7FFF0000
NATIVE = {"x86_64": X86, "aarch64": ARM}
#: read, openat, execve, socket, clone, unshare, ioctl, ptrace, mount, io_uring_setup, clone3
CALLS = {
    "x86_64": {"read": 0, "openat": 257, "execve": 59, "socket": 41, "clone": 56, "unshare": 272, "ioctl": 16},
    "aarch64": {"read": 63, "openat": 56, "execve": 221, "socket": 198, "clone": 220, "unshare": 97, "ioctl": 29},
}


def verdict(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Give what the filter returns: ALLOW, or an error's number."""
    given = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, audit, 0, *given)
    lines = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, yes, no, constant = lines[at]
        at += 1
        if code == 0x20:
            value = int(struct.unpack_from("=I", data, constant)[0])
        elif code == 0x06:
            return int(constant if constant == ALLOW else constant & 0xFFFF)
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += yes if holds else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_programs_need_is_allowed(machine: str) -> None:
    program, audit, calls = filter_program(machine), NATIVE[machine], CALLS[machine]
    assert program is not None
    for name in ("read", "openat", "execve"):
        assert verdict(program, audit, calls[name]) == ALLOW
    for family in (1, 2, 10, 16):
        assert verdict(program, audit, calls["socket"], family) == ALLOW
    assert verdict(program, audit, calls["clone"], 0x4011) == ALLOW
    assert verdict(program, audit, calls["unshare"], 0x400) == ALLOW
    assert verdict(program, audit, calls["ioctl"], 0, 0x5413) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_reaches_out_is_denied(machine: str) -> None:
    program, audit, calls = filter_program(machine), NATIVE[machine], CALLS[machine]
    assert program is not None
    for family in (0, 17, 38, 40, 15, 44):
        assert verdict(program, audit, calls["socket"], family) == errno.EAFNOSUPPORT
    for flag in (0x20000, 0x10000000, 0x20000000, 0x40000000, 0x2000000):
        assert verdict(program, audit, calls["clone"], flag | 17) == errno.EPERM
        assert verdict(program, audit, calls["unshare"], flag) == errno.EPERM
    assert verdict(program, audit, calls["ioctl"], 0, 0x5412) == errno.EPERM
    for number in (425, 426, 427, 435):
        assert verdict(program, audit, number) == errno.ENOSYS
    for number in (428, 429, 430, 438, 442):
        assert verdict(program, audit, number) == errno.EPERM


def test_other_numbers_of_the_same_machine_do_not_pass() -> None:
    program = filter_program("x86_64")
    assert program is not None
    assert verdict(program, 0x40000003, 3) == errno.ENOSYS
    assert verdict(program, X86, 0x40000000 + 1) == errno.ENOSYS


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert filter_program("riscv64") is None
