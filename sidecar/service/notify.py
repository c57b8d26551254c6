"""What the service manager is told: the notification protocol of systemd, sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

import structlog

# A manager that does not read must not stop the supervisor.
_PATIENCE = 1.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """The manager's socket, and how often it wants to hear of us.

    ``address``: as ``socket.connect`` takes it, None = no manager. ``watchdog_ns``: nanoseconds
    without ``WATCHDOG=1`` after which it restarts the service, None = it does not.
    """

    address: str | None = None
    watchdog_ns: int | None = None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """What the manager has put into ``environment``, removed from there: it is for this
        process, not for its children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval = environment.pop("WATCHDOG_USEC", "")
        addressee = environment.pop("WATCHDOG_PID", str(os.getpid()))
        if address[:1] not in ("/", "@"):  # vsock: is for virtual machines
            return cls()
        watched = interval.isdecimal() and int(interval) > 0 and addressee == str(os.getpid())
        return cls(
            # A name that begins with "@" is in the abstract namespace, where it begins with NUL.
            address=f"\0{address[1:]}" if address[0] == "@" else address,
            watchdog_ns=int(interval) * 1000 if watched else None,
        )

    def send(self, *assignments: str) -> None:
        """Sends ``NAME=value`` lines as one message. A failure is logged: there is no answer."""
        if self.address is None:
            return
        message = "".join(f"{line}\n" for line in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(_PATIENCE)
                manager.connect(self.address)
                manager.sendall(message.encode())
        except OSError as error:
            log.warning("the service manager cannot be told", error=str(error), told=message)
