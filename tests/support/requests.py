"""Requests to formats without a server: a virtual path in, an answer out."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.formats.registry import find
from sidecar.formats.spec import Answer, Request
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.mux.plan import Inline, Plan
from sidecar.service.reader import MediaReader
from sidecar.storage.source import ReadRange
from sidecar.timeline.clips import WHOLE, Clip
from sidecar.timeline.segmenter import Timeline


def ask(
    presentation: Presentation,
    virtual_path: str,
    *,
    read_ahead: int = 0,
    timeline: Timeline | None = None,
    selected: Presentation | None = None,
    clip: Clip = WHOLE,
    read: ReadRange | None = None,
    directives: Mapping[str, tuple[str, ...]] | None = None,
    **options: object,
) -> Answer:
    """The answer to ``virtual_path`` (percent-decoded); options by their field names."""
    found = find(virtual_path)
    assert found is not None, f"no format answers {virtual_path}"
    kind, match = found
    request = Request(
        presentation=presentation,
        selected=selected or presentation,
        timeline=timeline or Timeline(presentation),
        options=Options(**options),  # type: ignore[arg-type]
        virtual_path=virtual_path,
        match=match,
        read=read or MediaReader(),
        read_ahead=read_ahead,
        clip=clip,
        directives=directives or {},
    )
    return kind.answer(request)


def text(plan: Plan) -> str:
    """The body of a manifest."""
    (part,) = plan.parts
    assert isinstance(part, Inline)
    return part.data.decode()
