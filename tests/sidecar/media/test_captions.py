"""Closed captions inside of pictures are found when a file is indexed."""

from __future__ import annotations

import pytest

from sidecar.media import playable
from sidecar.media.index import index_media
from sidecar.media.track import Track
from tests.support.boxes import FTYP, Trak, box, moov
from tests.support.memory_source import MemorySource
from tests.support.tracks import video_facts

# An SEI message of H.264 (payload type 4) with two cc_data packets, as ATSC A/53 part 4 has it.
CAPTIONS = bytes.fromhex("060414b50031474139340342fffc9420fc94aeff80")
OTHER = b"\x06\x05\x20" + bytes(range(16)) * 2 + b"\x80"


def pictures(*units: tuple[bytes, ...]) -> Track:
    """A video of H.264: the access units ``units``, each behind a delimiter and before a slice."""
    samples = [
        b"".join(
            len(unit).to_bytes(4, "big") + unit
            for unit in (b"\x09\xf0", *inside, b"\x65" + b"\x88" * 5000)
        )
        for inside in units
    ]
    trak = Trak(sizes=[len(sample) for sample in samples])
    data = FTYP + box(b"mdat", *samples) + moov(trak.build(len(FTYP) + 8))
    (track,) = index_media(MemorySource(data)).tracks
    return track


@pytest.fixture(autouse=True)
def made_up_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playable, "describe", lambda *_, **__: video_facts())


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([(CAPTIONS,), (CAPTIONS,)], True),
        ([(OTHER, CAPTIONS)], True),
        ([(), (), (), (OTHER, CAPTIONS)], True),
        ([(), (OTHER,)], False),
        ([(CAPTIONS.replace(b"GA94", b"DTG1"),)], False),
    ],
)
def test_captions_are_found(units: list[tuple[bytes, ...]], expected: bool) -> None:
    assert pictures(*units).closed_captions is expected
