"""The server as a whole: the web application around a hub, the local source, and its life from start to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from pipelines.condition import Conditioner
from pipelines.errors import PipelineError
from pipelines.settings import Kind
from realtime.capture import Capture
from realtime.config import ServeConfig
from realtime.easel import Patience
from realtime.errors import BadInput, Failure
from realtime.hub import LOADING, Hub
from streaming import stamp
from streaming.errors import SourceError
from streaming.peer import PeerOptions
from streaming.server import make_app
from streaming.source import open_source

if TYPE_CHECKING:
    from realtime.model import Model

HUB = web.AppKey("hub", Hub)

#: So often the terminal hears how far the model is.
PROGRESS_SECONDS = 0.25
#: The session that ``--source`` makes.
SOURCE_SESSION = "live"


def build(
    config: ServeConfig,
    pipeline: Any = None,
    *,
    conditioners: Mapping[Kind, Conditioner] | None = None,
    options: PeerOptions | None = None,
    patience: Patience | None = None,
    chosen: Callable[[str], None] | None = None,
) -> web.Application:
    """The application; its ``app[HUB]`` begins to load the model when the application starts.

    ``pipeline``: run this one instead of loading ``config.model``; with ``conditioners`` of your own if you like.
    ``options``: how patient connections are; ``patience``: how long a session without a camera waits for viewers.
    ``chosen``: hears, on another thread, why this model runs where that was left to the program, and if it was
    verified.
    """

    parts: dict[str, Any] = {"controlnets": config.controlnets, "loras": config.loras, "vae": config.vae}

    def load_model() -> Model:
        # On the inference thread, when the page is served already: what it imports takes seconds.
        from realtime.choose import choose_model
        from realtime.model import load, verify, wrap

        if pipeline is not None:
            return wrap(pipeline, conditioners, control=config.control)
        choice = choose_model(config.model, device=config.device, dtype=config.dtype, **parts)
        if choice.why and chosen:
            chosen(choice.why)
        model = load(
            choice.name,
            backend=config.backend,
            device=config.device,
            control=config.control,
            dtype=config.dtype,
            size=config.size,
            **parts,
        )
        if config.verify:
            line = verify(model)
            if chosen:
                chosen(line)
        return model

    hub = Hub(
        load_model,
        max_sessions=config.max_sessions,
        fps=config.fps,
        copy_stamp=stamp.copy if config.copy_stamp else None,
        patience=patience,
    )
    app = make_app(hub, token=config.token, allow_origins=config.allow_origins, options=options)
    app[HUB] = hub

    async def life(_: web.Application) -> AsyncIterator[None]:
        hub.start()
        yield
        await hub.aclose()

    async def say_goodbye(_: web.Application) -> None:
        hub.close_all(reason="The server is stopping.")

    if config.source:
        app.cleanup_ctx.append(lambda _: _local_source(hub, str(config.source)))
    app.cleanup_ctx.append(life)
    app.on_shutdown.insert(0, say_goodbye)  # while the connections can still pass it on
    return app


async def _local_source(hub: Hub, url: str) -> AsyncIterator[None]:
    """Open the source at once, so that a wrong one is said at once; feed it to a session once there is a model."""
    try:
        source = await asyncio.to_thread(open_source, url)
    except SourceError as error:
        raise BadInput(str(error)) from None
    captures: list[Capture] = []

    async def go_live() -> None:
        await hub.wait_ready()
        captures.append(Capture(source, hub.open(SOURCE_SESSION)))

    going_live = asyncio.ensure_future(go_live())
    yield
    going_live.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # who serves waits for the model too, and says it
        await going_live
    for capture in captures:
        await asyncio.to_thread(capture.close)
    if not captures:
        source.close()


class Announcer(Protocol):
    """Whoever tells the person at the terminal."""

    def up(self, port: int) -> None:
        """The page is served on ``port``."""

    def chosen(self, why: str) -> None:
        """Why this model runs, where that was left to the program. Called on another thread."""

    def progress(self, doing: str) -> None:
        """What is being waited for."""

    def ready(self, hub: Hub) -> None:
        """The model is warm."""


async def serve(config: ServeConfig, announcer: Announcer | None = None, pipeline: Any = None) -> bool:
    """Run until SIGINT or SIGTERM. False when the model was still busy at the end.

    Raises BadInput or Failure with one sentence.
    """
    context = _tls(config)
    listener = _listen(config.host, config.port)
    app = build(config, pipeline, chosen=announcer.chosen if announcer else None)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    try:
        with _stop_signals() as stop:
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=context).start()
            if announcer:
                announcer.up(listener.getsockname()[1])
            await _until_ready(app[HUB], stop, announcer)
            if announcer and not stop.is_set():
                announcer.ready(app[HUB])
            await stop.wait()
    finally:
        await runner.cleanup()
        listener.close()
    return await app[HUB].aclose()


async def _until_ready(hub: Hub, stop: asyncio.Event, announcer: Announcer | None) -> None:
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(hub.wait_ready()), asyncio.ensure_future(stop.wait())]
    done: set[asyncio.Future[Any]] = set()
    while not done:
        # Not while it is loaded: files that are fetched then have progress bars of their own.
        if announcer and (doing := hub.ready()) not in (None, LOADING):
            announcer.progress(str(doing))
        done, pending = await asyncio.wait(waiting, timeout=PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if waiting[0] in done and (error := waiting[0].exception()):
        ours = isinstance(error, BadInput | PipelineError)
        raise error if ours else Failure(f"The model can't be loaded: {error}") from error


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process as usual."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop_now(*_: object) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in signals:
        signal.signal(number, stop_now)
    try:
        yield stop
    finally:
        restore()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything slow begins. Raises BadInput (no such address) or Failure (port in use)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BadInput(f"--host {host!r} is no address of this machine ({error.strerror}).") from None
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    try:
        return socket.create_server(address[:2], family=family)
    except PermissionError:
        raise Failure(f"Port {port} is not allowed to you; choose one from 1024 on with --port.") from None
    except OSError as error:
        raise Failure(
            f"Can't listen on {host} port {port}: {error.strerror}. Is another server running there? Try --port 0."
        ) from None


def _tls(config: ServeConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or error
        raise BadInput(
            f"{config.tls_cert} and {config.tls_key} are no certificate with its key (PEM): {why}."
        ) from None
    return context
