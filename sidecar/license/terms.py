"""What a license key grants, to whom, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sidecar.license.problems import Expired, FeatureMissing, NotYetValid

# What this version asks for. Keys may carry others, for versions to come.
VOD = "vod"
LIVE = "live"
DRM = "drm"
FEATURES = (VOD, LIVE, DRM)
# How sentences to clients begin when that feature is refused.
NEEDS = {
    VOD: "streaming needs a license key",
    LIVE: "live ingest needs a license key",
    DRM: "encryption needs a license key",
}

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)Z)?")
_EPOCH = datetime.fromtimestamp(0, UTC)
_FEATURE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """``not_before``, ``expires``: Unix seconds; it holds from the first, up to and without the
    second. ``issuer``: id of the key that signs it (16 hexadecimal digits)."""

    holder: str
    features: frozenset[str]
    not_before: int
    expires: int
    issuer: str

    def check(self, now: int) -> None:
        """Raises ``NotYetValid`` or ``Expired`` unless the license holds at ``now``."""
        if now < self.not_before:
            raise NotYetValid(write_moment(self.not_before))
        if now >= self.expires:
            raise Expired(write_moment(self.expires))

    def require(self, feature: str) -> None:
        """Raises ``FeatureMissing`` unless ``feature`` is granted."""
        if feature not in self.features:
            raise FeatureMissing(feature)


def read_moment(text: str) -> int:
    """Unix seconds of ``2027-01-31``, midnight UTC, or ``2027-01-31T12:00:00Z``.

    Raises ``ValueError``.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("not a moment")
    moment = datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00:00'}+00:00")
    if moment < _EPOCH:
        raise ValueError("a moment before 1970")
    return int(moment.timestamp())


def write_moment(seconds: int) -> str:
    """``seconds`` since the Unix epoch as ``2027-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_feature(name: str) -> bool:
    """Whether a feature may be called ``name``."""
    return _FEATURE.fullmatch(name) is not None
