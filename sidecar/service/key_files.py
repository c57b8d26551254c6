"""License keys and issuers' keys as files, and the environment variable that names one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from sidecar.license.problems import InvalidIssuer, MissingKey
from sidecar.license.public import read_public
from sidecar.license.text import MAX_BYTES, is_text

# The path or the text of a license key.
VARIABLE = "UspLicenseKey"
# Where nginx, the sidecar and the commands look when nothing else is said.
FOLDER = Path("license")
KEY, ISSUER, PRIVATE = "license.key", "issuer.pub", "issuer.key"


def read_small_text(path: Path) -> str:
    """The content of ``path``, which may come from anywhere. Raises ``OSError`` unless it is a
    regular file of UTF-8 text, not longer than a license key may be."""
    # O_NONBLOCK: a FIFO in its place must not make anybody wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        data = b""
        while piece := os.read(descriptor, MAX_BYTES + 1 - len(data)):
            data += piece
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"Longer than {MAX_BYTES} bytes", str(path))
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "Not a text", str(path)) from None


def key_text(value: str) -> str:
    """The text of the license key that ``value`` is, or that lies in the file of that name.

    Raises ``MissingKey``.
    """
    if is_text(value):
        return value
    try:
        return read_small_text(Path(value))
    except (OSError, ValueError) as error:  # a name with a NUL byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise MissingKey("the key cannot be read", f"{value}: {reason}") from None


def public_key(path: Path) -> bytes:
    """The public key of an issuer in the file ``path``. Raises ``InvalidIssuer``."""
    try:
        return read_public(read_small_text(path))
    except OSError as error:
        raise InvalidIssuer(f"{path}: {error.strerror}") from None
    except InvalidIssuer as error:
        raise InvalidIssuer(f"{path}: {error.sentence}") from None


def with_absolute_key(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a process in another folder: a key's file is named absolutely."""
    value = environment.get(VARIABLE)
    if not value or is_text(value):
        return dict(environment)
    return {**environment, VARIABLE: str(Path(value).absolute())}
