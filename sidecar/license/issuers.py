"""Issuers by their public keys, and what they have signed (Ed25519, RFC 8032)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.license.problems import BadSignature, InvalidIssuer, UnknownIssuer
from sidecar.license.terms import License
from sidecar.license.text import read_key, signed_bytes

PUBLIC_BYTES = 32

# SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), before its 32 bytes: always the same. Read by
# hand, for the reader of `cryptography` costs every process two megabytes.
_HEAD = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]{1,200})-----END PUBLIC KEY-----")


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


def issuer_id(public: bytes) -> str:
    """What keys call the issuer with the public key ``public``: 16 hexadecimal digits."""
    return hashlib.sha256(public).digest()[:8].hex()


def read_public(pem: str) -> bytes:
    """The 32 bytes of the public key in ``pem``. Raises ``InvalidIssuer``."""
    match = _PEM.search(pem)
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
    except (binascii.Error, ValueError):
        der = b""
    if len(der) != len(_HEAD) + PUBLIC_BYTES or not der.startswith(_HEAD):
        raise InvalidIssuer("it is not an Ed25519 public key in PEM form")
    return der[len(_HEAD) :]
