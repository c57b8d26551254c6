"""The issuer's side: key pairs, and keys signed with them."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sidecar.license.problems import InvalidIssuer
from sidecar.license.public import issuer_id
from sidecar.license.terms import License
from sidecar.license.text import SignedLicense, read_holder, read_key, signed_bytes, write_key


@dataclass(frozen=True, slots=True, eq=False)
class Issuer:
    """Who signs keys."""

    private: Ed25519PrivateKey

    @property
    def id(self) -> str:
        """What keys call it: 16 hexadecimal digits."""
        return issuer_id(self.private.public_key().public_bytes_raw())

    @property
    def private_pem(self) -> bytes:
        """PKCS #8, not encrypted."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def issue(self, *, holder: str, features: frozenset[str], not_before: int, expires: int) -> str:
        """The text of a key for ``holder``; moments in Unix seconds, features not empty.

        Raises ``MalformedKey`` when no key may contain it.
        """
        license = License(
            holder=read_holder(holder),
            features=features,
            not_before=not_before,
            expires=expires,
            issuer=self.id,
        )
        signature = self.private.sign(signed_bytes(license))
        text = write_key(SignedLicense(license=license, signature=signature))
        read_key(text)
        return text


def new_issuer() -> Issuer:
    """An issuer with a new key pair."""
    return Issuer(Ed25519PrivateKey.generate())


def read_issuer(pem: bytes) -> Issuer:
    """The issuer whose private key is in ``pem``. Raises ``InvalidIssuer``."""
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidIssuer("it is not an Ed25519 private key in PEM form, not encrypted")
    return Issuer(private)
