"""Where to connect for a host: addresses that the host may have, found before anybody connects.

Names can be made to lead anywhere by whoever has their domain, also between two looks. So what is
found here is what is connected to, by this process and by nginx.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections import OrderedDict

from sidecar.clock import monotonic_ns
from sidecar.errors import Forbidden, StorageError, StorageTimeout

_KEPT_NS = 30 * 1_000_000_000
_MOST = 256
# Metadata services of clouds that lie in ranges of private networks.
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200"})

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Addresses:
    """Addresses of hosts, kept for half a minute. May be used from several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, tuple[str, ...]]] = OrderedDict()

    def of(self, host: str) -> tuple[str, ...]:
        """The addresses of ``host``, a name or an address itself: the one that is preferred, then
        the others in the resolver's order.

        An address, or ``localhost``, stands for itself: a configuration names it. Other names may
        lead into private networks, but not to this computer or to its link (where clouds have the
        service that hands out credentials). Raises ``StorageError`` when there is none,
        ``Forbidden`` when there is none that is allowed.
        """
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        now = monotonic_ns()
        with self._lock:
            known = self._known.get(host)
        if known is not None and now - known[0] < _KEPT_NS:
            return known[1]
        try:
            found = _resolved(host)
        except StorageError:
            if known is not None:
                return known[1]
            raise
        if host != "localhost" and not host.endswith(".localhost"):
            found = tuple(one for one in found if may_be_named(one))
        if not found:
            raise Forbidden("the storage has no address that is allowed", path=host)
        with self._lock:
            preferred = known[1][0] if known is not None else ""
            found = tuple(sorted(found, key=lambda one: one != preferred))
            self._known[host] = (now, found)
            self._known.move_to_end(host)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found

    def prefer(self, host: str, address: str) -> None:
        """Puts ``address``, which answers, before the others of ``host``."""
        with self._lock:
            known = self._known.get(host)
            if known is not None and address in known[1]:
                found = tuple(sorted(known[1], key=lambda one: one != address))
                self._known[host] = (known[0], found)


def may_be_named(address: str) -> bool:
    """Whether a host name other than ``localhost`` and those in it may lead to ``address``."""
    ip: _Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            ip = inner
    return not (
        ip.is_loopback
        or ip.is_link_local
        or ip.is_unspecified
        or ip.is_multicast
        or ip.is_reserved
        or str(ip) in _METADATA
    )


def connect_address(address: str, port: int) -> str:
    """``address`` and ``port`` as they are written together."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _resolved(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise StorageTimeout("the name of the storage is not resolved", path=host) from error
        raise StorageError("the name of the storage is unknown", path=host) from error
    except (OSError, UnicodeError) as error:
        raise StorageError("the name of the storage is not resolved", path=host) from error
    # Scoped addresses ("fe80::1%eth0") are of the link.
    return tuple(dict.fromkeys(str(one[4][0]) for one in found if "%" not in str(one[4][0])))
