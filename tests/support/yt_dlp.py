"""Downloads by yt-dlp, whose readers of manifests nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import yt_dlp


def download(url: str, path: Path, *, by: str, choice: str = "best") -> None:
    """Downloads the format ``choice`` of ``url`` to ``path`` with its own downloader ``by``.

    Raises ``AssertionError`` with its words when it fails, or takes another downloader.
    """
    said: list[str] = []

    class Words:
        """What yt-dlp says."""

        debug = info = warning = error = staticmethod(said.append)

    options = {
        "format": choice,
        "outtmpl": {"default": str(path)},
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
    assert any(f"[{by}]" in line for line in said), f"another downloader was used: {said}"
