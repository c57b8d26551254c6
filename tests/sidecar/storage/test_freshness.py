"""Cache-Control, as far as it says how long."""

from __future__ import annotations

import pytest

from sidecar.storage.freshness import MOST_SECONDS, fresh_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("public", None),
        ("max-age=60", 60),
        ("public, Max-Age=60, must-revalidate", 60),
        ('max-age="60"', 60),
        ("max-age=60, s-maxage=5", 5),
        ("s-maxage=5, max-age=60", 5),
        ("max-age=0", 0),
        ("no-cache", 0),
        ("no-store, max-age=60", 0),
        ("private, max-age=60", 0),
        ('no-cache="Set-Cookie"', 0),
        ("max-age=-1", None),
        ("max-age=x", None),
        ("max-age=99999999999", None),
        ("max-age=9999999999", MOST_SECONDS),
    ],
)
def test_seconds(text: str, expected: int | None) -> None:
    assert fresh_seconds(text) == expected
