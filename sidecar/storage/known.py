"""Files on other servers as they were last seen."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from hashlib import blake2b

from sidecar.storage.fetch import Fetched
from sidecar.storage.source import SourceIdentity

_SECOND_NS = 1_000_000_000
# Of documents: a digest of what they say, so that they are the same as long as that is.
_DIGEST = '"says-'


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A file as it was last seen. ``url``: where it is, after redirects. ``etag``: as its server
    sends it. ``looked_ns``: when its server was asked last, ``confirmed_ns``: when it last answered
    that (monotonic); ``is_doubtful``: the last time it did not. ``valid_ns``: for how long it need
    not be asked. ``data``: of a document, ``cache_control``: what its server says of that, and
    ``limit``: its most bytes."""

    identity: SourceIdentity
    url: str
    etag: str
    looked_ns: int
    confirmed_ns: int
    valid_ns: int
    is_doubtful: bool = False
    cache_control: str = ""
    data: bytes = b""
    limit: int | None = None


def digest_tag(data: bytes) -> str:
    """The entity tag of a document that says ``data``."""
    return f'{_DIGEST}{blake2b(data, digest_size=16).hexdigest()}"'


def is_document(identity: SourceIdentity) -> bool:
    """Whether ``identity`` has been read as a whole, and follows what it says."""
    return identity.etag.startswith(_DIGEST)


def unless_same(known: Known | None) -> dict[str, str]:
    """The condition under which ``known`` need not be sent again."""
    if known is None:
        return {}
    if known.etag:
        return {"If-None-Match": known.etag}
    if known.identity.mtime_ns:
        seconds = known.identity.mtime_ns // _SECOND_NS
        return {"If-Modified-Since": formatdate(seconds, usegmt=True)}
    return {}


def is_same(found: Fetched, identity: SourceIdentity) -> bool:
    """Whether an answer is of ``identity``, as far as size and validators say."""
    if found.size != identity.size:
        return False
    if identity.etag:
        return not found.etag or found.etag == identity.etag
    return not identity.mtime_ns or found.mtime_ns == identity.mtime_ns
