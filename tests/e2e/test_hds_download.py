"""HDS as yt-dlp's own F4M downloader gets it, sample for sample the source."""

from __future__ import annotations

import hashlib
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from tests.support.assets import ASSETS, Asset, SourceStream, packets, source_of, streams
from tests.support.compare import assert_same
from tests.support.f4m import read_manifest
from tests.support.f4m_download import download
from tests.support.flv import AUDIO, FILE_HEADER, VIDEO, Tag, read_fragment, read_tags, samples
from tests.support.frames import decode, probe
from tests.support.http import Client
from tests.support.stack import Stack

MILLISECOND = Fraction(1, 1000)
HALF_FRAME = Fraction(512, 48000)
# One of each kind of source; H.265 is not for FLV.
DOWNLOADED = [
    asset
    for asset in ASSETS
    if asset.name.startswith(
        ("bframes", "two_audio", "variable", "trimmed", "audio_d", "video_d", "frag_cmaf",
         "frag_piff", "frag_partial", "ladder")
    )
]  # fmt: skip


def media_tags(data: bytes) -> list[Tag]:
    """The samples of an FLV file that begins with a script tag, as yt-dlp writes them."""
    assert data.startswith(FILE_HEADER)
    script = len(FILE_HEADER)
    assert data[script] == 18
    size = int.from_bytes(data[script + 1 : script + 4])
    return samples(read_tags(data[script + 11 + size + 4 :]))


def stored(source: SourceStream, *, ignore_edits: bool = False) -> list[tuple[Fraction, str]]:
    """(seconds, MD5) of the samples that ``source`` presents, by time."""
    path = str(source.path)
    data = source.path.read_bytes()
    sizes = packet_sizes(path, source.index)
    rows = []
    for packet in packets(path, source.index, ignore_edits=ignore_edits):
        if not packet.is_discarded:
            sample = data[packet.position : packet.position + sizes[packet.position]]
            rows.append((packet.time, hashed(sample)))
    return rows


@cache
def packet_sizes(path: str, stream: int) -> dict[int, int]:
    """Byte offset -> bytes of each packet."""
    command = ["ffprobe", "-v", "error", "-ignore_editlist", "1", "-select_streams", str(stream)]
    command += ["-show_entries", "packet=size,pos", "-of", "csv=p=0", path]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = (line.strip(",").split(",") for line in out.split())
    return {int(position): int(size) for size, position in rows}


def hashed(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("asset", DOWNLOADED, ids=lambda asset: asset.name)
def test_downloaded_samples_are_those_of_the_source(
    stack: Stack, tmp_path: Path, asset: Asset
) -> None:
    path = tmp_path / "out.flv"
    download(f"{stack.base}{asset.path}/.f4m", path)
    tags = media_tags(path.read_bytes())
    times = [tag.timestamp for tag in tags]
    assert times == sorted(times)

    # The best stream is the last of the manifest: of the highest video, and of the first audio.
    (picture,) = [stream for stream in probe(str(path)) if stream["codec_type"] == "video"]
    video = source_of(asset, "video", height=picture["height"], channels=None)
    assert_same(asset, video, decode(str(path), "0:v:0")[0], f"{asset.name} video")

    audio = next(one for file in asset.files for one in streams(file) if one.kind == "audio")
    moved = asset.lead - asset.misread[1]
    expected = [(time + moved, digest) for time, digest in stored(audio)]
    # Priming is left out: what is heard by less than half of a frame.
    expected = [(time, digest) for time, digest in expected if time > -HALF_FRAME]
    sounds = [tag for tag in tags if tag.type == AUDIO]
    found = [hashed(tag.data) for tag in sounds]
    assert found[-len(expected) :] == [digest for _, digest in expected]
    # With video from before a trimmed start comes its sound.
    assert set(found) <= {digest for _, digest in stored(audio, ignore_edits=True)}
    for tag, (time, _) in zip(sounds[-len(expected) :], expected, strict=True):
        late = Fraction(tag.timestamp, 1000) - max(time, Fraction(0))
        assert abs(late) <= 2 * MILLISECOND, f"at {float(time)} s: {float(late):+.6f} s off"


def test_every_stream_of_a_ladder(stack: Stack, client: Client, tmp_path: Path) -> None:
    """yt-dlp chooses by bitrate; each choice is another picture size."""
    manifest = read_manifest(client.get("/ladder.ism/.f4m").body)
    assert len(manifest.media) == 3
    assert manifest.bootstraps == 1
    asset = next(asset for asset in ASSETS if asset.path == "/ladder.ism")
    for media in manifest.media:
        path = tmp_path / f"{media.bitrate}.flv"
        download(f"{stack.base}/ladder.ism/.f4m", path, str(media.bitrate))
        assert media.size is not None
        source = source_of(asset, "video", height=media.size[1], channels=None)
        assert_same(asset, source, decode(str(path), "0:v:0")[0], f"video of {media.bitrate}")


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_each_fragment_decodes_alone(client: Client, tmp_path: Path, asset: Asset) -> None:
    for media in read_manifest(client.get(f"{asset.path}/.f4m").body).media:
        for url in media.fragments():
            answer = client.get(f"{asset.path}/{url}")
            assert answer.headers["content-type"] == "video/f4f"
            tags = read_fragment(answer.body)
            path = tmp_path / "fragment.flv"
            path.write_bytes(FILE_HEADER + answer.body[8:])
            kinds = [kind for kind in (VIDEO, AUDIO) if samples(tags, kind)]
            decoded = decode(str(path), *(f"0:{'v' if kind == VIDEO else 'a'}" for kind in kinds))
            for kind, frames in zip(kinds, decoded, strict=True):
                inside = samples(tags, kind)
                # An open GOP's leading pictures need the GOP before.
                shown = [tag for tag in inside if tag.presented >= inside[0].presented]
                assert len(frames) == len(shown), f"{url}: {kind}"


def test_hevc_leaves_its_audio(client: Client, stack: Stack, tmp_path: Path) -> None:
    manifest = read_manifest(client.get("/hevc.mp4/.f4m").body)
    assert manifest.mime_type == "audio/mp4"
    download(f"{stack.base}/hevc.mp4/.f4m", tmp_path / "out.flv")
    (sound,) = probe(str(tmp_path / "out.flv"))
    assert sound["codec_name"] == "aac"


def test_a_clip(client: Client, stack: Stack, tmp_path: Path) -> None:
    (media,) = read_manifest(client.get("/bframes_closed.mp4/.f4m?vbegin=5&vend=9").body).media
    assert media.bootstrap.first == 2
    assert media.bootstrap.starts == [4000, 8000, 10_000]
    path = tmp_path / "out.flv"
    download(f"{stack.base}/bframes_closed.mp4/.f4m?vbegin=5&vend=9", path)
    pictures = [tag for tag in media_tags(path.read_bytes()) if tag.type == VIDEO]
    assert pictures[0].presented == 4000
    assert len(pictures) == 150


def test_selection_and_lengths(client: Client) -> None:
    query = "?filter=type%21%3D%22video%22%7C%7CsystemBitrate%3C100000"
    assert len(read_manifest(client.get(f"/ladder.ism/.f4m{query}").body).media) == 1
    (media,) = read_manifest(
        client.get("/bframes_closed.mp4/.f4m?hds_minimum_fragment_length=2").body
    ).media
    assert len(media.fragments()) == 5
    assert all(url.endswith("?hds_minimum_fragment_length=2") for url in media.fragments())
    for url in media.fragments():
        assert read_fragment(client.get(f"/bframes_closed.mp4/{url}").body)


def test_statuses(client: Client) -> None:
    (media,) = read_manifest(client.get("/bframes_closed.mp4/.f4m").body).media
    stem = f"/bframes_closed.mp4/{media.url}Seg1-Frag"
    assert client.request(f"{stem}0").status == 404
    assert client.request(f"{stem}4").status == 503
    assert client.request(f"{stem}x").status == 404
    bootstrap = client.get(f"/bframes_closed.mp4/{media.url.removesuffix('-')}.abst")
    assert bootstrap.headers["content-type"] == "video/abst"
    tail = client.request(f"{stem}1", headers={"Range": "bytes=-64"})
    assert tail.status == 206
    assert client.get(f"{stem}1").body.endswith(tail.body)
