"""Exact time arithmetic: integer ticks of a timescale (ticks per second)."""

from __future__ import annotations

from fractions import Fraction


def rescale(ticks: int, timescale: int, target: int) -> int:
    """``ticks`` of ``timescale`` in ticks of ``target``, rounded to nearest, halves away from zero.

    Derive results from absolute ticks: rescaling differences accumulates rounding.
    """
    scaled = abs(ticks) * target
    rounded = (2 * scaled + timescale) // (2 * timescale)
    return rounded if ticks >= 0 else -rounded


def seconds(ticks: int, timescale: int) -> Fraction:
    """``ticks`` of ``timescale`` as exact seconds."""
    return Fraction(ticks, timescale)


def decimal(value: Fraction, places: int) -> str:
    """``value`` in decimal notation, up to ``places`` decimals, shortest (``4``, ``6.4``)."""
    scale: int = 10**places
    scaled = rescale(value.numerator, value.denominator, scale)
    whole, rest = divmod(abs(scaled), scale)
    text = f"{whole}.{rest:0{places}d}".rstrip("0").rstrip(".") if places else str(whole)
    return f"-{text}" if scaled < 0 else text
