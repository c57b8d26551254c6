"""Which tracks of a presentation a request selects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.errors import NotFound
from sidecar.media.filters import Value
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind

# ISO/IEC 14496-15: profile_idc, constraint flags, level_idc behind "avc1.".
_AVC = re.compile(r"avc[1-4]\.([0-9A-Fa-f]{2})[0-9A-Fa-f]{2}([0-9A-Fa-f]{2})")


def attributes(rendition: Rendition) -> dict[str, Value]:
    """What filters may ask of ``rendition``; names in lower case, only those that it has.

    ``type``, ``systembitrate`` (bit/s), ``systemlanguage``, ``fourcc``, ``trackid``, ``trackname``,
    ``timescale`` and those of its kind, as server manifests say them.
    """
    track = rendition.track
    facts = track.facts
    found: dict[str, Value] = {
        "type": rendition.kind.value,
        "systembitrate": rendition.bitrate,
        "fourcc": facts.fourcc,
        "trackid": track.track_id,
        "trackname": rendition.name,
        "timescale": track.timescale,
    }
    if rendition.language:
        found["systemlanguage"] = rendition.language
    if isinstance(facts, VideoFacts):
        horizontal, vertical = facts.pixel_aspect
        found |= {
            "maxwidth": facts.width,
            "maxheight": facts.height,
            # In square pixels: the height stays.
            "displaywidth": (2 * facts.width * horizontal + vertical) // (2 * vertical),
            "displayheight": facts.height,
        }
        avc = _AVC.fullmatch(facts.codec)
        if avc is not None:
            found |= {"avc_profile": int(avc[1], 16), "avc_level": int(avc[2], 16)}
    elif isinstance(facts, AudioFacts):
        found |= {
            "audiotag": facts.audio_tag,
            "channels": facts.channels,
            "samplingrate": facts.sampling_rate,
            "bitspersample": facts.bits_per_sample,
        }
    return found


def select(presentation: Presentation, options: Options) -> Presentation:
    """``presentation`` with the renditions that ``filter``, ``max_bitrate``, ``min_bitrate`` leave.

    The bounds (both inclusive) concern video, or audio where the filter leaves no video. It is the
    same object when they ask for nothing. Raises ``NotFound`` when no rendition is left, or none
    of the kind that the bounds concern.
    """
    kept = presentation.renditions
    if options.filter is not None:
        kept = tuple(one for one in kept if options.filter(attributes(one)))
        if not kept:
            raise NotFound("the filter selects none of the tracks")
    kept = _bounded(kept, options)
    if len(kept) == len(presentation.renditions):
        return presentation
    return replace(presentation, renditions=kept)


def variant_sets(presentation: Presentation, options: Options) -> list[Presentation]:
    """What the variants of an HLS master playlist are made of: one set after the other.

    Each ``variant_set`` gives the presentation of its renditions (those of none are left out);
    without the option, everything is one set. A master playlist lists the variants of the first
    set, then those of the next and so on, each combination once. Raises ``NotFound`` when no set
    has any rendition.
    """
    if not options.variant_set:
        return [presentation]
    sets = []
    for wanted in options.variant_set:
        kept = tuple(one for one in presentation.renditions if wanted(attributes(one)))
        if kept:
            sets.append(replace(presentation, renditions=kept))
    if not sets:
        raise NotFound("variant_set selects none of the tracks")
    return sets


def _bounded(renditions: Sequence[Rendition], options: Options) -> tuple[Rendition, ...]:
    least, most = options.min_bitrate, options.max_bitrate
    if least is None and most is None:
        return tuple(renditions)
    kind = Kind.VIDEO if any(one.kind is Kind.VIDEO for one in renditions) else Kind.AUDIO
    kept = tuple(
        one
        for one in renditions
        if one.kind is not kind
        or ((least is None or one.bitrate >= least) and (most is None or one.bitrate <= most))
    )
    if not any(one.kind is kind for one in kept):
        raise NotFound(f"no {kind.value} track has a bitrate within the bounds")
    return kept
