"""Time expressions of TTML (W3C TTML2 12.3.1) in milliseconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from sidecar.media.text.cues import LATEST, TIMESCALE
from sidecar.units import rescale

_CLOCK = re.compile(
    r"([0-9]{2,5}):([0-9]{2}):([0-9]{2})(?:(\.[0-9]{1,12})|:([0-9]{2,5})(?:\.([0-9]{1,5}))?)?"
)
_OFFSET = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,12})?)(h|ms|m|s|f|t)")
_MULTIPLIER = re.compile(r"[ \t]*([0-9]{1,9})[ \t:]+([0-9]{1,9})[ \t]*")
_SECONDS = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000)}
_USUAL_FRAME_RATE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """``frame_rate``: frames per second; ``sub_frame_rate``: sub-frames per frame; ``tick_rate``:
    ticks per second."""

    frame_rate: Fraction
    sub_frame_rate: int
    tick_rate: Fraction

    def milliseconds(self, text: str) -> int:
        """The time that ``text`` says. Raises ``ValueError`` when it says none, or one too late."""
        value = self._seconds(text.strip())
        if value is None or value * TIMESCALE > LATEST:
            raise ValueError(text)
        return rescale(value.numerator, value.denominator, TIMESCALE)

    def _seconds(self, text: str) -> Fraction | None:
        offset = _OFFSET.fullmatch(text)
        if offset is not None:
            count = Fraction(offset[1])
            if offset[2] == "f":
                return count / self.frame_rate
            return count / self.tick_rate if offset[2] == "t" else count * _SECONDS[offset[2]]
        clock = _CLOCK.fullmatch(text)
        if clock is None:
            return None
        whole = (int(clock[1]) * 60 + int(clock[2])) * 60 + int(clock[3])
        frames = int(clock[5] or 0) + Fraction(int(clock[6] or 0), self.sub_frame_rate)
        return whole + Fraction(clock[4] or 0) + frames / self.frame_rate


def clock_of(parameters: Mapping[str, str]) -> Clock:
    """The clock of a document whose root has the ttp attributes ``parameters`` (local names).

    Values that are no positive numbers count as not given.
    """
    said_rate = _positive(parameters.get("frameRate"))
    multiplier = _MULTIPLIER.fullmatch(parameters.get("frameRateMultiplier", ""))
    frame_rate = Fraction(said_rate or _USUAL_FRAME_RATE)
    if multiplier is not None and int(multiplier[1]) and int(multiplier[2]):
        frame_rate *= Fraction(int(multiplier[1]), int(multiplier[2]))
    sub_frame_rate = _positive(parameters.get("subFrameRate")) or 1
    tick_rate = _positive(parameters.get("tickRate"))
    # Without a rate of its own a tick is a sub-frame, or a second where no frames are spoken of.
    usual = frame_rate * sub_frame_rate if said_rate else Fraction(1)
    return Clock(
        frame_rate=frame_rate,
        sub_frame_rate=sub_frame_rate,
        tick_rate=Fraction(tick_rate) if tick_rate else usual,
    )


def _positive(text: str | None) -> int | None:
    word = (text or "").strip()
    return int(word) or None if word.isascii() and word.isdigit() and len(word) <= 10 else None
