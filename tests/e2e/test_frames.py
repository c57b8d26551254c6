"""Every rendition, fetched by ffmpeg through HLS and DASH, is frame for frame the source."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.support.assets import ASSETS, Asset
from tests.support.compare import assert_all_streams, sources_of
from tests.support.hls import read_master
from tests.support.http import Client
from tests.support.stack import Stack

# Timestamps of transport streams begin 10 s after presentation time 0.
KINDS = {"?hls_fmp4": Fraction(0), "?hls_fmp4=false": Fraction(10)}


@pytest.mark.parametrize("query", KINDS)
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_hls_master_playlist(stack: Stack, asset: Asset, query: str) -> None:
    url = f"{stack.base}{asset.path}/.m3u8{query}"
    found = assert_all_streams(asset, url, together=True, offset=KINDS[query])
    assert found == sources_of(asset)


@pytest.mark.parametrize("query", [*KINDS, "?hls_fmp4=false&hls_no_multiplex"])
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_hls_media_playlists(client: Client, stack: Stack, asset: Asset, query: str) -> None:
    url = f"{stack.base}{asset.path}/.m3u8{query}"
    offset = KINDS.get(query, Fraction(10))
    found = set()
    for playlist in read_master(client.get(url).text, url).playlists:
        found |= assert_all_streams(asset, playlist, together=True, offset=offset)
    assert found == sources_of(asset)


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_dash_representations(stack: Stack, asset: Asset) -> None:
    url = f"{stack.base}{asset.path}/.mpd"
    assert assert_all_streams(asset, url, together=False) == sources_of(asset)


@pytest.mark.parametrize("template", ["number", "number_timeline"])
def test_dash_by_number(stack: Stack, template: str) -> None:
    asset = next(asset for asset in ASSETS if asset.path == "/bframes_closed.mp4")
    url = f"{stack.base}{asset.path}/.mpd?mpd_segment_template={template}"
    assert assert_all_streams(asset, url, together=False) == sources_of(asset)
