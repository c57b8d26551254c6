"""Public sample files with real muxers' quirks: served with identical frames, or refused with a
reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.assets import Asset
from tests.support.compare import assert_all_streams, sources_of
from tests.support.http import Client
from tests.support.media import SHARED, shared_files
from tests.support.stack import Stack

FILES = shared_files()


def test_the_samples_are_there() -> None:
    if not FILES:
        pytest.skip(f"no sample files at {SHARED}: set ORIGIN_TEST_MEDIA to a folder of them")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("manifest", [".m3u8?hls_fmp4", ".mpd"])
def test_identical_frames_or_a_reason(
    client: Client, stack: Stack, path: Path, manifest: str
) -> None:
    asset = Asset(path=f"/shared/{path.name}", files=(f"shared/{path.name}",))
    answer = client.request(f"{asset.path}/{manifest}")
    if answer.status == 415:
        assert len(answer.text.strip()) > 10
        pytest.fail(f"refused: {answer.text.strip()}")
    assert answer.status == 200, answer.body
    found = assert_all_streams(
        asset, f"{stack.base}{asset.path}/{manifest}", together=manifest != ".mpd"
    )
    assert found == sources_of(asset)
