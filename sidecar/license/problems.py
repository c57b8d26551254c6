"""Why a license key does not allow something.

The sentence of each may reach clients: it says nothing of what the key contains. ``detail`` is for
whoever administers the server.
"""

from __future__ import annotations

from sidecar.errors import NoLicense, OriginError


class InvalidIssuer(OriginError):
    """What is configured as an issuer's key is none."""


class MissingKey(NoLicense):
    """There is no key, or what should hold it cannot be read."""


class MalformedKey(NoLicense):
    """The text is not that of a license key."""

    def __init__(self, detail: str) -> None:
        super().__init__("the key is damaged", detail)


class UnknownIssuer(NoLicense):
    """The key names an issuer that is not configured."""

    def __init__(self, issuer: str) -> None:
        super().__init__("the issuer of the key is not trusted here", f"issuer {issuer}")


class BadSignature(NoLicense):
    """The key was changed, or signed by someone else than the issuer that it names."""

    def __init__(self) -> None:
        super().__init__(
            "the key is not what its issuer has signed", "something in it was changed, or lost"
        )


class NotYetValid(NoLicense):
    """The key's time has not begun; ``not_before``: when it does, as the key writes it."""

    def __init__(self, not_before: str) -> None:
        super().__init__("the key is not valid yet", f"not before {not_before}")


class Expired(NoLicense):
    """The key's time is over; ``expires``: since when, as the key writes it."""

    def __init__(self, expires: str) -> None:
        super().__init__("the key has expired", f"on {expires}")


class FeatureMissing(NoLicense):
    """The key is sound, but not for ``feature``."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"the key does not include the feature {feature}")
