"""Everything that players of all formats fetch of a presentation."""

from __future__ import annotations

from tests.support import mpd
from tests.support.hls import read_master, read_media
from tests.support.http import Client, Response
from tests.support.smooth import read_manifest

MANIFESTS = (".m3u8?hls_fmp4", ".m3u8?hls_fmp4=false", ".mpd", "Manifest")


def everything(
    client: Client, path: str, *, manifests: tuple[str, ...] = MANIFESTS
) -> dict[str, Response]:
    """The answers to all that ``manifests`` of the presentation ``path`` lead to, and these, by
    what follows ``path/``; each was 200 and whole."""
    root = f"{client.base}{path}/"
    found: dict[str, Response] = {}

    def get(url: str) -> Response:
        name = url.removeprefix(root)
        if name not in found:
            found[name] = client.get(url)
        return found[name]

    for manifest in manifests:
        url = root + manifest
        body = get(url).body
        if manifest.startswith(".m3u8"):
            for playlist_url in read_master(body.decode(), url).playlists:
                playlist = read_media(get(playlist_url).text, playlist_url)
                listed = [playlist.map] if playlist.map else []
                for segment_url in (*listed, *(one.url for one in playlist.segments)):
                    get(segment_url)
        elif manifest.startswith(".mpd"):
            for representation in mpd.read(body, url).representations:
                for segment_url in (representation.init, *(s.url for s in representation.segments)):
                    get(segment_url)
        else:
            for stream in read_manifest(body).streams:
                for level in stream.levels:
                    for time, _ in stream.chunks:
                        get(root + stream.url(level, time))
    return found


def segments(found: dict[str, Response]) -> dict[str, Response]:
    """Those that are media, not manifests."""
    return {
        name: answer
        for name, answer in found.items()
        if "mpegurl" not in answer.headers["content-type"]
        and "xml" not in answer.headers["content-type"]
    }
