"""``origin license``: keys that let the origin stream, and the issuers who sign them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from sidecar.clock import now_ns
from sidecar.errors import NoLicense, OriginError
from sidecar.license.issuers import Issuers
from sidecar.license.problems import (
    BadSignature,
    Expired,
    FeatureMissing,
    InvalidIssuer,
    NotYetValid,
    UnknownIssuer,
)
from sidecar.license.signing import Issuer, new_issuer, read_issuer
from sidecar.license.terms import FEATURES, read_moment
from sidecar.license.text import MAX_BYTES, described, read_key
from sidecar.service.key_files import (
    FOLDER,
    ISSUER,
    KEY,
    PRIVATE,
    VARIABLE,
    key_text,
    public_key,
    read_small_text,
)

# Ten years and the leap days in them.
DEFAULT_DAYS = 3653
DAY = 86400

# Exit codes of "verify"; 1 = not readable or damaged, 2 = a mistake in the command.
_CODES: dict[type[NoLicense], int] = {
    UnknownIssuer: 3,
    BadSignature: 3,
    NotYetValid: 4,
    Expired: 5,
    FeatureMissing: 6,
}


def moment(value: str | int) -> int:
    """Unix seconds of ``value``: 2027-01-31 is its midnight, UTC."""
    try:
        return value if isinstance(value, int) else read_moment(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a moment such as 2027-01-31 or 2027-01-31T12:00:00Z"
        ) from None


_KEY = click.argument("key", required=False)


@click.group()
def license() -> None:
    """Issue, show and verify license keys.

    KEY is a file, "-" for standard input, or the text of a key; without it, what the variable
    UspLicenseKey says, else license/license.key.
    """


@license.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=FOLDER)
def keypair(folder: Path) -> None:
    """Make an issuer: FOLDER/issuer.key, with which keys are signed, and FOLDER/issuer.pub."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PRIVATE, ISSUER):
        if (folder / name).exists():
            raise click.ClickException(f"{folder / name} exists, and is not replaced")
    issuer = new_issuer()
    _write(folder / PRIVATE, issuer.private_pem, 0o600)
    _write(folder / ISSUER, issuer.public_pem, 0o644)
    click.echo(f"{folder / PRIVATE} and {folder / ISSUER}: issuer {issuer.id}")


@license.command()
@click.option("--holder", required=True, help="Who may use it, in words.")
@click.option(
    "--feature",
    "features",
    type=click.Choice(FEATURES),
    multiple=True,
    help="What it allows; may be repeated.  [default: all]",
)
@click.option("--not-before", type=moment, help="When it begins to hold.  [default: now]")
@click.option(
    "--expires", type=moment, help="When it holds no longer: 2027-01-31 is its midnight, UTC."
)
@click.option("--days", type=click.IntRange(1, 36525), help="The same as days from its beginning.")
@click.option(
    "--issuer-key",
    type=click.Path(path_type=Path),
    default=FOLDER / PRIVATE,
    show_default=True,
    help="Private key of the issuer.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, which must not exist.  [default: standard output]",
)
def issue(
    holder: str,
    features: tuple[str, ...],
    not_before: int | None,
    expires: int | None,
    days: int | None,
    issuer_key: Path,
    output: Path | None,
) -> None:
    """Sign a key."""
    if (expires is None) == (days is None):
        raise click.UsageError("one of --expires and --days says how long it holds")
    begins = now_ns() // 10**9 if not_before is None else not_before
    ends = begins + days * DAY if expires is None and days is not None else expires
    assert ends is not None
    issuer = _issuer(issuer_key)
    try:
        text = issuer.issue(
            holder=holder,
            features=frozenset(features or FEATURES),
            not_before=begins,
            expires=ends,
        )
    except (NoLicense, OverflowError, ValueError) as error:
        reason = error.detail if isinstance(error, NoLicense) else error
        raise click.ClickException(f"no such key can be issued: {reason}") from None
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text.encode(), 0o644)


@license.command()
@_KEY
def show(key: str | None) -> None:
    """Tell what a key says. Its signature is not verified, so no issuer is needed."""
    try:
        signed = read_key(_find(key))
    except NoLicense as error:
        raise click.ClickException(str(error)) from None
    click.echo(described(signed.license), nl=False)


@license.command()
@_KEY
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    help=f"Public key of an issuer; may be repeated.  [default: {FOLDER / ISSUER}]",
)
@click.option("--feature", "features", multiple=True, help="What it must allow; may be repeated.")
def verify(key: str | None, issuers: tuple[Path, ...], features: tuple[str, ...]) -> None:
    """Tell whether a key holds now.

    Exit status: 0 it does; 1 it cannot be read or is damaged; 3 its issuer is not known or has not
    signed this; 4 not yet; 5 no longer; 6 not for that feature.
    """
    try:
        known = Issuers(map(public_key, issuers or (FOLDER / ISSUER,)))
        found = known.verified(_find(key))
        found.check(now_ns() // 10**9)
        for feature in features:
            found.require(feature)
    except OriginError as error:
        click.echo(f"not valid: {error}", err=True)
        sys.exit(_CODES.get(type(error), 1) if isinstance(error, NoLicense) else 1)
    click.echo(described(found), nl=False)
    left = (found.expires * 10**9 - now_ns()) // (DAY * 10**9)
    click.echo(f"valid, for {left} more days")


def make_keys(folder: Path) -> list[str]:
    """Makes an issuer, and a key for everything, in ``folder``, unless they are there.

    Returns what was made, one line each. Never replaces anything; raises
    ``click.ClickException`` when what is there cannot be used.
    """
    try:
        return _make_keys(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _make_keys(folder: Path) -> list[str]:
    made = []
    folder.mkdir(parents=True, exist_ok=True)
    private, public, key = (folder / name for name in (PRIVATE, ISSUER, KEY))
    if not private.exists() and not public.exists():
        issuer = new_issuer()
        _write(private, issuer.private_pem, 0o600)
        _write(public, issuer.public_pem, 0o644)
        made.append(f"{private} and {public}, an issuer of license keys")
    if private.exists() and not key.exists():
        issuer = _issuer(private)
        if not public.exists():
            _write(public, issuer.public_pem, 0o644)
            made.append(f"{public}, of {private}")
        elif read_small_text(public).encode() != issuer.public_pem:
            raise click.ClickException(f"{public} does not belong to {private}: no key is made")
        begins = now_ns() // 10**9 // DAY * DAY
        text = issuer.issue(
            holder="whoever runs this origin",
            features=frozenset(FEATURES),
            not_before=begins,
            expires=begins + DEFAULT_DAYS * DAY,
        )
        _write(key, text.encode(), 0o644)
        made.append(f"{key}, a license key with all features")
    return made


def _issuer(private: Path) -> Issuer:
    try:
        return read_issuer(read_small_text(private).encode())
    except (InvalidIssuer, OSError) as error:
        reason = error.sentence if isinstance(error, InvalidIssuer) else error.strerror
        raise click.ClickException(f"{private}: {reason}") from None


def _find(key: str | None) -> str:
    """The text of the key that the command is about. Raises ``MissingKey``."""
    if key == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1).decode(errors="replace")
    return key_text(key or os.environ.get(VARIABLE) or str(FOLDER / KEY))


def _write(path: Path, data: bytes, mode: int) -> None:
    """Writes the new file ``path``, which has ``mode`` before it has content. Replaces nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise click.ClickException(f"{path}: {error.strerror}") from None
