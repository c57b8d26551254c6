"""The origin with a watch: every call is counted, timed and, where that is wanted, told of."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from grpc_health.v1 import health, health_pb2

from sidecar.clock import monotonic_ns
from sidecar.errors import NoLicense, Result
from sidecar.license.terms import VOD
from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service.edges import held_ns
from sidecar.service.licensing import DIRECTIVE, Licensing
from sidecar.service.logging import call_started_ns
from sidecar.service.metrics import Metrics
from sidecar.service.servicer import OriginServicer

# A call that takes longer is worth a line.
SLOW_SECONDS = 1.0

_HEALTH = health_pb2.HealthCheckRequest(
    service=origin_pb2.DESCRIPTOR.services_by_name["Origin"].full_name
)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ObservedServicer(origin_pb2_grpc.OriginServicer):
    """``origin.v1.Origin``: what ``inner`` answers to Plan, and what is known of this process."""

    def __init__(
        self,
        inner: OriginServicer,
        licensing: Licensing,
        metrics: Metrics,
        health_servicer: health.aio.HealthServicer,
    ) -> None:
        self._inner = inner
        self._licensing = licensing
        self._metrics = metrics
        self._health = health_servicer

    async def Plan(  # noqa: N802 - the name of the rpc
        self, request: origin_pb2.PlanRequest, context: Any
    ) -> origin_pb2.PlanReply:
        """As the inner one answers. A call that failed has its line in the log from there."""
        started = monotonic_ns()
        call_started_ns.set(started)
        held_ns.set(0)
        self._metrics.began()
        try:
            reply = await self._inner.Plan(request, context)
        except asyncio.CancelledError:
            self._metrics.ended("", None, _seconds_since(started), 0)
            raise
        seconds = _seconds_since(started)
        self._metrics.ended(reply.plan.kind, reply.plan.result, seconds, len(reply.ahead))
        if reply.plan.result == origin_pb2.FMP4_OK:
            if seconds > SLOW_SECONDS:
                log.warning("slow", **_facts(request, reply))
            else:
                log.debug("planned", **_facts(request, reply))
        return reply

    async def Metrics(  # noqa: N802
        self, request: origin_pb2.MetricsRequest, context: Any
    ) -> origin_pb2.MetricsReply:
        """All metrics of this process."""
        reply = origin_pb2.MetricsReply()
        for family in self._metrics.families():
            reply.families.add(name=family.name, head=family.head, samples=family.samples)
        return reply

    async def Ready(  # noqa: N802
        self, request: origin_pb2.ReadyRequest, context: Any
    ) -> origin_pb2.ReadyReply:
        """Whether Plan would answer requests with these directives."""
        health_now = await self._health.Check(_HEALTH, context)
        if health_now.status != health_pb2.HealthCheckResponse.SERVING:
            return origin_pb2.ReadyReply(
                result=origin_pb2.FMP4_UNAVAILABLE, sentence="the process is stopping"
            )
        directives = {given.name: tuple(given.args) for given in request.directives}
        try:
            self._licensing.require(VOD, directives.get(DIRECTIVE))
        except NoLicense as error:
            return origin_pb2.ReadyReply(
                result=error.result.value,  # type: ignore[arg-type]
                sentence=error.sentence,
            )
        return origin_pb2.ReadyReply()


def _seconds_since(started_ns: int) -> float:
    """How long a call has worked: not what it waited for an encoder."""
    return (monotonic_ns() - started_ns - held_ns.get()) / 1e9


def _facts(request: origin_pb2.PlanRequest, reply: origin_pb2.PlanReply) -> dict[str, object]:
    """The fields of a line about a call; its milliseconds are added where all lines are made."""
    return {
        "request_id": request.request_id,
        "path": request.path,
        "virtual_path": request.virtual_path,
        "args": request.args,
        "kind": reply.plan.kind,
        "result": Result(reply.plan.result).name,
        "parts": len(reply.plan.parts),
        "ahead": len(reply.ahead),
    }
