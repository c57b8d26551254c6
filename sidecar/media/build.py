"""Presentations from server manifests and media files: which track, under which name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from sidecar.errors import InvalidMedia, MediaError, NotFound, UnsupportedMedia
from sidecar.media.languages import is_language
from sidecar.media.naming import described, names, unique_names
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.server_manifest import KIND_ORDER, Entry, ServerManifest
from sidecar.media.track import Kind, MediaFile, Track
from sidecar.storage.source import SourceIdentity

TEXT_BITRATE = 1000
_REASONS = 3  # reasons for left-out tracks that a sentence repeats


def presentation_from_manifest(
    name: str,
    manifest: ServerManifest,
    identity: SourceIdentity,
    files: Mapping[str, MediaFile],
) -> Presentation:
    """The presentation ``name`` that ``manifest`` (the file ``identity``) describes.

    ``files``: the indexed media file of every ``src`` of the manifest. An entry takes the track
    that its trackID names; without one, the n-th such entry of a (src, kind) takes the n-th track
    of that kind that no trackID names. Entries whose track was left out by the index because it
    cannot be served are left out with a warning.

    Raises ``NotFound`` when a src is not in ``files``; ``InvalidMedia`` when a file has no such
    track, the manifest lists none, or an option of its head has a bad value; ``UnsupportedMedia``
    when no entry is left, or when the manifest asks for encryption.
    """
    _refuse_encryption(manifest, identity)
    options = parse_options(manifest.options, "")
    if not manifest.entries:
        raise InvalidMedia("the server manifest lists no tracks", path=identity.path)
    for entry in manifest.entries:
        if entry.src not in files:
            raise NotFound(f"{_entry_name(entry)} does not exist")
    claimed = {
        (entry.src, entry.track_id) for entry in manifest.entries if entry.track_id is not None
    }
    taken: dict[tuple[str, Kind], int] = {}
    found: list[tuple[Track, Entry | None]] = []
    warnings = []
    for entry in manifest.entries:
        media = files[entry.src]
        try:
            track = _select(entry, media, claimed, taken, identity)
        except UnsupportedMedia as error:
            warnings.append(error.sentence)
            continue
        found.append((track, entry))
    if not found:
        raise UnsupportedMedia(
            f"no track of the server manifest can be served: {_few(warnings)}", path=identity.path
        )
    unique = {files[entry.src].source.path: files[entry.src] for entry in manifest.entries}
    return Presentation(
        name=name,
        renditions=_ordered(_renditions(found)),
        options=manifest.options,
        sources=_sources(identity, unique.values()),
        last_modified_ns=identity.mtime_ns,
        warnings=(*options.warnings, *warnings, *_left_out(unique.values())),
    )


def presentation_from_media(name: str, media: MediaFile) -> Presentation:
    """The presentation ``name`` of all tracks of ``media``, bitrates measured.

    Raises ``UnsupportedMedia`` when none of its tracks can be served, ``InvalidMedia`` when it has
    none.
    """
    if not media.tracks:
        raise _no_track("the file", media, media.source.path)
    return Presentation(
        name=name,
        renditions=_ordered(_renditions([(track, None) for track in media.tracks])),
        options={},
        sources=_sources(media.source, (media,)),
        last_modified_ns=media.source.mtime_ns,
        warnings=_left_out([media]),
    )


def default_bitrate(track: Track) -> int:
    """systemBitrate where none is given, bit/s: measured, but for text, which is next to none."""
    return TEXT_BITRATE if track.kind is Kind.TEXT else track.average_bitrate


def track_language(track: Track) -> str | None:
    """The language that the media says, where it has the form of one."""
    return track.language if track.language and is_language(track.language) else None


def _refuse_encryption(manifest: ServerManifest, identity: SourceIdentity) -> None:
    for group in manifest.param_groups:
        if any(name in ("key", "license_server_url") for name, _ in group.metas):
            raise UnsupportedMedia(
                f"the server manifest asks for encryption (paramGroup {group.id}), "
                "which is not available",
                path=identity.path,
            )


def _select(
    entry: Entry,
    media: MediaFile,
    claimed: set[tuple[str, int]],
    taken: dict[tuple[str, Kind], int],
    identity: SourceIdentity,
) -> Track:
    if entry.track_id is not None:
        for track in media.tracks:
            if track.track_id == entry.track_id:
                if track.kind is not entry.kind:
                    raise InvalidMedia(
                        f"{_entry_name(entry)}: track {track.track_id} is {track.kind.value}, "
                        f"not {entry.kind.value}",
                        path=identity.path,
                    )
                return track
        raise _no_track(f"{_entry_name(entry)}: track {entry.track_id}", media, identity.path)
    position = taken.get((entry.src, entry.kind), 0)
    taken[entry.src, entry.kind] = position + 1
    free = [
        track
        for track in media.tracks
        if track.kind is entry.kind and (entry.src, track.track_id) not in claimed
    ]
    if position >= len(free):
        what = f"{entry.kind.value} track" + (f" {position + 1}" if position else "")
        raise _no_track(f"{_entry_name(entry)}: {what}", media, identity.path)
    return free[position]


def _no_track(what: str, media: MediaFile, path: str) -> MediaError:
    if media.skipped:
        return UnsupportedMedia(f"{what} cannot be served: {_few(media.skipped)}", path=path)
    if media.tracks:
        return InvalidMedia(f"{what} does not exist in the media file", path=path)
    return InvalidMedia(f"{what} has no tracks", path=path)


def _sources(first: SourceIdentity, files: Iterable[MediaFile]) -> tuple[SourceIdentity, ...]:
    every = [one for media in files for one in (media.source, *media.references)]
    return tuple(dict.fromkeys((first, *every)))


def _few(reasons: Iterable[str]) -> str:
    listed = list(reasons)
    rest = f" and {len(listed) - _REASONS} more" if len(listed) > _REASONS else ""
    return "; ".join(listed[:_REASONS]) + rest


def _entry_name(entry: Entry) -> str:
    # The last part only: src may be an absolute path of this server's disk.
    return f"line {entry.line} of the server manifest, {PurePosixPath(entry.src).name}"


def _left_out(files: Iterable[MediaFile]) -> tuple[str, ...]:
    return tuple(
        f"{PurePosixPath(media.source.path).name}: {reason}"
        for media in files
        for reason in media.skipped
    )


def _renditions(found: Sequence[tuple[Track, Entry | None]]) -> list[Rendition]:
    languages = [(entry and entry.language) or track_language(track) for track, entry in found]
    bitrates = [(entry and entry.bitrate) or default_bitrate(track) for track, entry in found]
    told = [
        described(
            track,
            given=entry.track_name if entry else None,
            language=language,
            role=entry.role if entry else None,
            label=entry.label if entry else None,
            bitrate=bitrate,
            source=track.source,
        )
        for (track, entry), language, bitrate in zip(found, languages, bitrates, strict=True)
    ]
    return [
        Rendition(
            name=name.track_name,
            bitrate=one.bitrate,
            language=one.language,
            label=one.label,
            role=one.role,
            track=track,
            choice=name.choice,
        )
        for (track, _), one, name in zip(found, told, names(told), strict=True)
    ]


def _ordered(renditions: Iterable[Rendition]) -> tuple[Rendition, ...]:
    """Audio, text, video, each by ascending bitrate, with selectors that are unique."""
    ordered = sorted(renditions, key=lambda one: (KIND_ORDER[one.kind], one.bitrate))
    unique = unique_names((one.name, one.bitrate) for one in ordered)
    return tuple(
        one if one.name == name else replace(one, name=name)
        for one, name in zip(ordered, unique, strict=True)
    )
