"""yt-dlp's own downloader for HDS: a reader that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import yt_dlp


def download(url: str, path: Path, choice: str = "best") -> None:
    """Downloads the format ``choice`` of the F4M ``url`` as the FLV file ``path``.

    Raises ``AssertionError`` with yt-dlp's words when it fails, or takes another downloader.
    """
    said: list[str] = []

    class Words:
        """What yt-dlp says."""

        debug = info = warning = error = staticmethod(said.append)

    options = {
        "format": choice,
        "outtmpl": {"default": str(path)},
        "skip_unavailable_fragments": False,
        "retries": 0,
        "fragment_retries": 0,
        "cachedir": False,
        "noprogress": True,
        "nopart": True,
        "proxy": "",
        "logger": Words(),
    }
    try:
        with yt_dlp.YoutubeDL(options) as client:
            client.download([url])
    except yt_dlp.utils.DownloadError as error:
        raise AssertionError("\n".join(said)) from error
    assert any("[f4m]" in line for line in said), f"another downloader was used: {said}"
