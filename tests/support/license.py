"""License keys for tests: an issuer of their own, and what a sidecar process knows of it."""

from __future__ import annotations

import time
from functools import cache

from sidecar.license.issuers import Issuers
from sidecar.license.public import read_public
from sidecar.license.signing import Issuer, new_issuer
from sidecar.license.terms import FEATURES
from sidecar.service.licensing import Licensing

DAY = 86400


@cache
def issuer() -> Issuer:
    """The issuer of this session."""
    return new_issuer()


def issued(
    *features: str, begins: int = -DAY, ends: int = 365 * DAY, by: Issuer | None = None
) -> str:
    """A key with ``features``, all when none is named; it holds from ``begins`` to ``ends``,
    seconds from now."""
    now = int(time.time())
    return (by or issuer()).issue(
        holder="the tests",
        features=frozenset(features or FEATURES),
        not_before=now + begins,
        expires=now + ends,
    )


def licensing(own: str | None = None) -> Licensing:
    """Knows the issuer of this session; ``own``: the key in the environment."""
    return Licensing(Issuers([read_public(issuer().public_pem.decode())]), own)


def licensed() -> Licensing:
    """The same with a key for everything, which it has told the log of."""
    made = licensing(issued())
    made.check_own()
    return made
