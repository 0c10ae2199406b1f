"""Close the network to this process and to every process that it starts, and hide a process from its child processes.

Linux: a seccomp filter (seccomp(2), kernel 3.17 and later) that needs no privileges and cannot be removed. macOS: a sandbox
profile (sandbox_init(3)). Unix sockets stay open, because they reach only programs on this machine.

Run as a script, the module closes the network and prints which sockets its process and a child process can still open.
"""

import ctypes
import errno
import os
import struct
import sys

LAYER = {"linux": "seccomp", "darwin": "sandbox_init"}.get(sys.platform, "")
"""The system's mechanism that closes the network; empty if paragone knows no mechanism of this system."""

_AF_UNIX = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
"""Apply the filter to all threads of the process: a module that the interpreter imports first may have started threads."""
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
"""Without this flag, kernels before 5.16 turn on mitigations of speculative execution, which slow the process down."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
"""SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO, to which the number of an error is added."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JGE|BPF_K, BPF_RET|BPF_K of linux/bpf_common.h."""
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data on little-endian machines."""
_X32 = 0x40000000
"""The first system call number of the x32 ABI, the second set of system calls on x86-64."""

_MACHINES = {
    "x86_64": (0xC000003E, 317, 41),
    "aarch64": (0xC00000B7, 277, 198),
    "riscv64": (0xC00000F3, 277, 198),
}
"""For each machine: AUDIT_ARCH_* of linux/audit.h, and the numbers of seccomp(2) and socket(2)."""
_IO_URING_SETUP, _PIDFD_GETFD = 425, 438
"""System calls that give a socket without socket(2), with the same numbers on all machines: io_uring opens sockets, and
pidfd_getfd copies a socket of another process."""

_PROFILE = (
    b"(version 1)(allow default)(deny network*)(allow network* (local unix-socket) (remote unix-socket))"
)


def close_network() -> None:
    """Forbid this process and its children all sockets except Unix sockets. Raises OSError if the system cannot do this."""
    if sys.platform == "linux":
        _install_filter(*_machine())
    elif sys.platform == "darwin":
        _enter_sandbox()
    else:
        raise OSError(errno.ENOSYS, "paragone does not know how on this system")


def close_network_if_asked(word: str) -> None:
    """Close the network if `word` is `closed`. If the system cannot, print a warning on standard error and continue."""
    if word != "closed":
        return
    try:
        close_network()
    except OSError as error:
        sys.stderr.write(f"paragone: the network stays open to this process: {error}\n")


def hide_process() -> None:
    """Keep other processes of the user from reading the environment and the memory of this process (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def kinds_of_sockets_that_open() -> tuple[str, ...]:
    """Return the kinds of sockets, other than Unix sockets, that this process can open: `TCP`, `UDP`, `IPv6` and others."""
    import socket  # imported here so that an engine's process starts without this module

    families = {
        "TCP": (socket.AF_INET, socket.SOCK_STREAM),
        "UDP": (socket.AF_INET, socket.SOCK_DGRAM),
        "IPv6": (socket.AF_INET6, socket.SOCK_STREAM),
    }
    if sys.platform == "linux":
        families |= {
            "netlink": (socket.AF_NETLINK, socket.SOCK_RAW),
            "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM),
        }
    opened = []
    for name, (family, kind) in families.items():
        try:
            socket.socket(family, kind).close()
        except OSError:
            continue
        opened.append(name)
    return tuple(opened)


def _machine() -> tuple[int, int, int]:
    known = _MACHINES.get(os.uname().machine)
    if known is None or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"paragone does not know the system calls of {os.uname().machine}")
    return known


def _install_filter(architecture: int, seccomp_call: int, socket_call: int) -> None:
    program = _filter(architecture, socket_call)
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, one, none, none, none) != 0:
        raise _last_error()
    call, mode = ctypes.c_long(seccomp_call), ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER)
    for flag in (_SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0):  # kernels before 4.17 refuse the flag
        flags = ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC | flag)
        thread = libc.syscall(call, mode, flags, fprog)
        if thread == 0:
            return
    if thread > 0:
        raise OSError(errno.EBUSY, "a thread of the process has a filter of its own")
    raise _last_error()


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _filter(architecture: int, socket_call: int) -> bytes:
    """Return the filter, an array of struct sock_filter. A jump is the number of instructions to skip."""
    refuse = _REFUSE | errno.EACCES
    absent = _REFUSE | errno.ENOSYS
    instructions = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 8, architecture),  # refuse calls of another architecture, whose numbers differ
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 7, 0, _X32),
        (_EQUAL, 0, 2, socket_call),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 2, 3, _AF_UNIX),
        (_EQUAL, 3, 0, _IO_URING_SETUP),
        (_EQUAL, 1, 0, _PIDFD_GETFD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, absent),
    )
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


def _enter_sandbox() -> None:
    library = ctypes.CDLL("/usr/lib/libsandbox.dylib")
    message = ctypes.c_char_p()
    if library.sandbox_init(_PROFILE, ctypes.c_uint64(0), ctypes.byref(message)) != 0:
        raise OSError(errno.EPERM, (message.value or b"the sandbox was refused").decode(errors="replace"))


def _try() -> None:
    close_network()
    opened = kinds_of_sockets_that_open()
    if child := os.fork():  # the filter must hold for child processes too
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.stdout.write(" ".join(dict.fromkeys(opened + kinds_of_sockets_that_open())))


if __name__ == "__main__":
    try:
        _try()
    except OSError as error:
        sys.exit(error.strerror or str(error))
