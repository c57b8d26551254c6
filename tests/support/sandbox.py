"""Runs a command under the filters of system calls that a systemd unit asks for.

    python tests/support/sandbox.py deploy/origin-sidecar.service command ...

Of the unit: SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute, NoNewPrivileges,
with the meaning that systemd.exec(5) gives them. The rest of it needs a service manager.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_FAMILIES = 64
_WRITE, _EXEC = 2, 4
_NO_NEW_PRIVILEGES = 38

_library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_library.seccomp_init.restype = ctypes.c_void_p
_library.seccomp_init.argtypes = [ctypes.c_uint32]
_library.seccomp_load.argtypes = [ctypes.c_void_p]
_library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


_library.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(_Comparison),
]


def settings(unit: Path) -> dict[str, list[str]]:
    """The assignments of the unit file, in their order, by name."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def system_calls(name: str) -> Iterator[str]:
    """The calls of the set ``name`` ("@system-service"), or itself."""
    if not name.startswith("@"):
        yield name
        return
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    for line in shown.splitlines()[1:]:
        inner = line.strip()
        if inner and not inner.startswith("#"):
            yield from system_calls(inner)


def allowed(lines: list[str]) -> set[str]:
    """What the lines of SystemCallFilter leave."""
    calls: set[str] = set()
    for line in lines:
        named = {call for name in line.removeprefix("~").split() for call in system_calls(name)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


class _Filter:
    def __init__(self, otherwise: int) -> None:
        self._context = _library.seccomp_init(otherwise)

    def add(self, action: int, call: str, *comparisons: _Comparison) -> None:
        number = _library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # of another architecture
        array = (_Comparison * len(comparisons))(*comparisons)
        code = _library.seccomp_rule_add_array(
            self._context, action, number, len(comparisons), array
        )
        assert code == 0, (call, os.strerror(-code))

    def load(self) -> None:
        code = _library.seccomp_load(self._context)
        assert code == 0, os.strerror(-code)


def confine(unit: Path) -> None:
    """Confines this process, and all that it starts, as ``unit`` says."""
    asked = settings(unit)
    filters = []
    if lines := asked.get("SystemCallFilter"):
        calls = _Filter(_ERRNO | errno.EPERM)
        for call in sorted(allowed(lines)):
            calls.add(_ALLOW, call)
        filters.append(calls)
    if lines := asked.get("RestrictAddressFamilies"):
        families = {int(getattr(socket, name)) for line in lines for name in line.split()}
        sockets = _Filter(_ALLOW)
        for family in set(range(_FAMILIES)) - families:
            other = _Comparison(0, _EQUAL, family, 0)
            sockets.add(_ERRNO | errno.EAFNOSUPPORT, "socket", other)
        filters.append(sockets)
    if asked.get("MemoryDenyWriteExecute") == ["yes"]:
        memory = _Filter(_ALLOW)
        both = _Comparison(2, _MASKED_EQUAL, _WRITE | _EXEC, _WRITE | _EXEC)
        memory.add(_ERRNO | errno.EPERM, "mmap", both)
        for call in ("mprotect", "pkey_mprotect"):
            memory.add(_ERRNO | errno.EPERM, call, _Comparison(2, _MASKED_EQUAL, _EXEC, _EXEC))
        filters.append(memory)
    assert ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    for one in reversed(filters):  # the one that may forbid loading more comes last
        one.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
