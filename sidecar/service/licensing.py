"""Which requests the license key allows, and what the log says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import NoLicense
from sidecar.license.issuers import Issuers
from sidecar.license.problems import InvalidIssuer, MissingKey
from sidecar.license.terms import NEEDS, VOD, License, write_moment
from sidecar.service.key_files import VARIABLE, key_text, public_key

# The directive of nginx with the text of the key, or without an argument when it could not be read.
DIRECTIVE = "usp_license_key"

# Plans are kept so long, milliseconds, or as long as the key: none outlives it.
LONGEST_MS = 24 * 3600 * 1000
# A key that ends within this is told of, and how often.
WARNING_SECONDS = 30 * 86400
WARNING_EVERY_NS = 86400 * 10**9
# How often the same problem is told of.
PROBLEM_EVERY_NS = 60 * 10**9

# A reload or two of nginx: more texts are not in use at once, nor more problems.
_MAX_KNOWN = 64

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """What a text turned out to be: a ``license``, or a ``problem`` that time does not cure."""

    license: License | None
    problem: NoLicense | None
    # When the end was told of last, on the monotonic clock; None = never.
    warned_ns: int | None = None


class Licensing:
    """Verifies keys, each text once. One event loop only.

    ``own``: the text of the key that counts where nginx sends none, or why what should hold it
    cannot be read. ``expires``: when the key ends that was accepted last, Unix seconds; None =
    none was.
    """

    def __init__(self, issuers: Issuers, own: str | MissingKey | None) -> None:
        self._issuers = issuers
        self._own = own
        self.expires: int | None = None
        self._known: dict[str, _Known] = {}
        self._told: dict[str, int] = {}

    def require(self, feature: str, sent: tuple[str, ...] | None) -> License:
        """The license that grants ``feature`` now.

        ``sent``: the arguments of DIRECTIVE, None where it is not given. Raises ``NoLicense`` with
        a sentence for clients.
        """
        text = sent[0] if sent else self._own
        try:
            if text is None:
                raise MissingKey("there is none" if sent is None else "the key cannot be read")
            if isinstance(text, MissingKey):
                raise MissingKey(text.sentence, text.detail)
            known = self._known.get(text) or self._learn(text)
            if known.license is None:
                assert known.problem is not None
                raise NoLicense(known.problem.sentence, known.problem.detail)
            now = now_ns() // 10**9
            known.license.check(now)
            known.license.require(feature)
        except NoLicense as error:
            self._tell(error)
            raise NoLicense(f"{NEEDS[feature]}: {error.sentence}", error.detail) from None
        self.expires = known.license.expires
        if self.expires - now < WARNING_SECONDS:
            self._warn(known.license, known, now)
        return known.license

    def check_own(self) -> None:
        """Has the log say at the start what the key of the environment is worth, if there is one:
        what nginx sends comes later."""
        if isinstance(self._own, str):
            try:
                self.require(VOD, None)
            except NoLicense:
                return  # told of

    def _learn(self, text: str) -> _Known:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        try:
            license = self._issuers.verified(text)
            known = _Known(license, None)
            log.info(
                "license key",
                holder=license.holder,
                features=sorted(license.features),
                not_before=write_moment(license.not_before),
                expires=write_moment(license.expires),
                issuer=license.issuer,
            )
        except NoLicense as problem:
            known = _Known(None, problem)
        self._known[text] = known
        return known

    def _tell(self, problem: NoLicense) -> None:
        now, reason = monotonic_ns(), str(problem)
        told = self._told.get(reason)
        if told is not None and now - told < PROBLEM_EVERY_NS:
            return
        if len(self._told) >= _MAX_KNOWN:
            self._told.clear()
        self._told[reason] = now
        log.error("no license", reason=reason)

    def _warn(self, license: License, known: _Known, now: int) -> None:
        monotonic = monotonic_ns()
        if known.warned_ns is None or monotonic - known.warned_ns >= WARNING_EVERY_NS:
            known.warned_ns = monotonic
            log.warning(
                "the license key expires soon",
                expires=write_moment(license.expires),
                days=(license.expires - now) // 86400,
            )


def lasting_ms(license: License) -> int:
    """How long an answer that was made under ``license`` may be kept from now on, milliseconds."""
    left_ms = license.expires * 1000 - now_ns() // 10**6
    return max(1, min(left_ms, LONGEST_MS))


def load_licensing(issuers: Iterable[Path], environment: Mapping[str, str]) -> Licensing:
    """What the files ``issuers`` and the variable of the environment give.

    What cannot be read is told of in the log, and does not count: streaming is refused, all else
    goes on.
    """
    public = []
    for path in issuers:
        try:
            public.append(public_key(path))
        except InvalidIssuer as error:
            log.error("no issuer of license keys", reason=error.sentence)
    own: str | MissingKey | None = None
    if value := environment.get(VARIABLE):
        try:
            own = key_text(value)
        except MissingKey as error:
            log.error("no license key in the environment", variable=VARIABLE, reason=error.detail)
            own = error.with_traceback(None)
    return Licensing(Issuers(public), own)
