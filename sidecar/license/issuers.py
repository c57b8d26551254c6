"""Issuers by their public keys, and what they have signed (Ed25519, RFC 8032)."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.license.problems import BadSignature, UnknownIssuer
from sidecar.license.public import issuer_id
from sidecar.license.terms import License
from sidecar.license.text import read_key, signed_bytes


class Issuers:
    """Those whose keys count: ``public``, 32 bytes each."""

    def __init__(self, public: Iterable[bytes]) -> None:
        self._keys = {issuer_id(one): Ed25519PublicKey.from_public_bytes(one) for one in public}

    def verified(self, text: str) -> License:
        """The license that ``text`` contains, whatever the time.

        Raises ``MalformedKey``, ``UnknownIssuer`` or ``BadSignature``.
        """
        signed = read_key(text)
        key = self._keys.get(signed.license.issuer)
        if key is None:
            raise UnknownIssuer(signed.license.issuer)
        try:
            key.verify(signed.signature, signed_bytes(signed.license))
        except InvalidSignature:
            raise BadSignature from None
        return signed.license
