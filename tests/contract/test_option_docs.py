"""The documentation of the options is that of the options that there are."""

from __future__ import annotations

import re
from pathlib import Path

from sidecar.media.filters import CONSTANTS, MAX_DEPTH, MAX_LENGTH
from sidecar.media.select import attributes
from tests.support.option_docs import table
from tests.support.tracks import audio_track, rendition, text_track, video_track

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "options.md").read_text()


def test_the_table_is_that_of_the_options() -> None:
    assert table() in TEXT, f"docs/options.md must have this table:\n{table()}"


def test_every_attribute_is_there() -> None:
    tracks = [video_track(), audio_track(), text_track(cues=[(0, 1000)])]
    documented = {word.lower() for word in re.findall(r"`(\w+)`", TEXT)}
    for track in tracks:
        assert set(attributes(rendition(track, language="eng"))) <= documented


def test_every_constant_is_there() -> None:
    named = re.findall(r"`(?:AVC_PROFILE)?(_\w+)`", TEXT)
    assert {f"avc_profile{name.lower()}" for name in named} == set(CONSTANTS)


def test_the_bounds_of_filters_are_there() -> None:
    assert f"{MAX_LENGTH} characters and {MAX_DEPTH} levels" in TEXT
