"""/healthz, /readyz and /metrics."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .metrics import SWEEP_AGE_SECONDS
from .sweep import Sweep

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Health:
    """What the probes are told. A stand-by is as ready as the process that holds the Lease."""

    def __init__(self) -> None:
        self.is_ready = False
        self.sweep: Sweep | None = None
        SWEEP_AGE_SECONDS.set_function(lambda: self.sweep.age_seconds() if self.sweep else 0.0)

    @property
    def is_alive(self) -> bool:
        """Whether the caches are still checked against the API server."""
        return self.sweep is None or self.sweep.is_alive()

    async def serve(self, address: str, health_port: int, metrics_port: int) -> tuple[web.AppRunner, ...]:
        """Starts both servers; `cleanup()` of each answer stops it.

        The metrics have a port of their own, so that a NetworkPolicy can admit scrapers and nobody else.

        Raises:
            OSError: a port is taken.
        """
        health = {"/healthz": _probe(lambda: self.is_alive), "/readyz": _probe(lambda: self.is_ready)}
        return (
            await _serve(health, address, health_port),
            await _serve({"/metrics": _metrics}, address, metrics_port),
        )


async def _serve(routes: Mapping[str, Handler], address: str, port: int) -> web.AppRunner:
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner


def _probe(holds: Callable[[], bool]) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if holds() else web.Response(status=503, text="no\n")

    return answer


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
