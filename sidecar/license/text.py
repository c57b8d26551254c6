"""License keys as text: a few lines that a person can read, and a signature.

The signature covers the facts in one fixed form, not the lines as they stand. Mail programs and
editors may change line ends, spaces, the order of the lines and where the signature is broken.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass

from sidecar.license.problems import MalformedKey
from sidecar.license.terms import License, is_feature, read_moment, write_moment

TITLE = "OpenOrigin license key"
VERSION = 1
# nginx accepts no longer ones (lua/origin/license.lua).
MAX_BYTES = 4096
MAX_HOLDER = 200
MAX_FEATURES = 32
SIGNATURE_BYTES = 64

_FIELDS = ("holder", "features", "not before", "expires", "issuer", "signature")
_ISSUER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLicense:
    """A license as its text says, and the signature of an issuer. Nothing is verified yet."""

    license: License
    signature: bytes


def is_text(value: str) -> bool:
    """Whether ``value`` is meant as the text of a key; else it is the name of a file."""
    return "\n" in value or value.lstrip("\ufeff\t ").startswith(TITLE)


def signed_bytes(license: License) -> bytes:
    """What an issuer signs."""
    return (
        f"{TITLE} {VERSION}\n"
        f"holder: {license.holder}\n"
        f"features: {', '.join(sorted(license.features))}\n"
        f"not before: {write_moment(license.not_before)}\n"
        f"expires: {write_moment(license.expires)}\n"
        f"issuer: {license.issuer}\n"
    ).encode()


def write_key(signed: SignedLicense) -> str:
    """The text of a key; ``read_key`` gives back what it was written from."""
    signature = base64.b64encode(signed.signature).decode()
    half = len(signature) // 2
    return (
        f"{TITLE} {VERSION}\n\n{described(signed.license)}\n"
        f"Signature:  {signature[:half]}\n"
        f"            {signature[half:]}\n"
    )


def described(license: License) -> str:
    """``license`` as keys and commands show it: a line for each field."""
    return (
        f"Holder:     {license.holder}\n"
        f"Features:   {', '.join(sorted(license.features))}\n"
        f"Not before: {write_moment(license.not_before)}\n"
        f"Expires:    {write_moment(license.expires)}\n"
        f"Issuer:     {license.issuer}\n"
    )


def read_key(text: str) -> SignedLicense:
    """The license and the signature that ``text`` contains. Raises ``MalformedKey``."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise MalformedKey(f"it is longer than {MAX_BYTES} bytes")
    fields = _fields(text)
    missing = [name for name in _FIELDS if not fields.get(name)]
    if missing:
        raise MalformedKey(f'it has no field "{missing[0]}"')
    return SignedLicense(
        license=License(
            holder=read_holder(fields["holder"]),
            features=_features(fields["features"]),
            **_period(fields),
            issuer=_issuer(fields["issuer"]),
        ),
        signature=_signature(fields["signature"]),
    )


def read_holder(value: str) -> str:
    """``value`` as a key may carry it: one line, single spaces. Raises ``MalformedKey``."""
    holder = " ".join(unicodedata.normalize("NFC", value).split())
    if not holder or len(holder) > MAX_HOLDER or not holder.isprintable():
        raise MalformedKey(f"the holder is not a text of at most {MAX_HOLDER} characters")
    return holder


def _fields(text: str) -> dict[str, str]:
    """Values by name in lower case; lines without a name continue the signature."""
    lines = [
        (number, " ".join(line.split()))
        for number, line in enumerate(text.lstrip("\ufeff").split("\n"), 1)
        if line.strip()
    ]
    title = lines[0][1] if lines else ""
    if title != f"{TITLE} {VERSION}":
        known = f'the first line is not "{TITLE} {VERSION}"'
        another = re.fullmatch(rf"{TITLE} \d{{1,9}}", title)
        raise MalformedKey(f"{known}, but of another version" if another else known)
    fields: dict[str, str] = {}
    last = ""
    for number, line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon and last == "signature":
            fields[last] += line
        elif not colon or name not in _FIELDS:
            raise MalformedKey(f"line {number} is none that a key has")
        elif name in fields:
            raise MalformedKey(f'line {number} is a second "{name}"')
        else:
            last = name
            fields[name] = value.strip()
    return fields


def _features(value: str) -> frozenset[str]:
    names = [name for name in re.split(r"[, ]+", value) if name]
    if not names or len(names) > MAX_FEATURES or not all(map(is_feature, names)):
        raise MalformedKey("the features are not a list of names")
    return frozenset(names)


def _period(fields: dict[str, str]) -> dict[str, int]:
    period = {}
    for name in ("not before", "expires"):
        try:
            period[name.replace(" ", "_")] = read_moment(fields[name])
        except ValueError:
            raise MalformedKey(f'"{name}" is not a moment such as 2027-01-31T12:00:00Z') from None
    if period["not_before"] >= period["expires"]:
        raise MalformedKey("it expires before it begins")
    return period


def _issuer(value: str) -> str:
    if _ISSUER.fullmatch(value.lower()) is None:
        raise MalformedKey("the issuer is not 16 hexadecimal digits")
    return value.lower()


def _signature(value: str) -> bytes:
    try:
        signature = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != SIGNATURE_BYTES:
        raise MalformedKey(f"the signature is not {SIGNATURE_BYTES} bytes in base64")
    return signature
