"""Public keys of issuers (Ed25519, RFC 8032) as files hold them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from sidecar.license.problems import InvalidIssuer

PUBLIC_BYTES = 32

# SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), before its 32 bytes: always the same. Read by
# hand, for the reader of `cryptography` costs every process two megabytes.
_HEAD = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]{1,200})-----END PUBLIC KEY-----")


def issuer_id(public: bytes) -> str:
    """What license keys call the issuer with the public key ``public``: 16 hexadecimal digits."""
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
