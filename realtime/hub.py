"""Hub: all sessions of this process, around one model that is loaded while the page is served already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from realtime.admission import Admission, Demand
from realtime.control import apply_patch
from realtime.easel import Patience
from realtime.metrics import Metrics
from realtime.modes import check_mode, first_settings
from realtime.names import check_name, fresh_name
from realtime.prepare import make_pool
from realtime.scheduler import Scheduler
from realtime.session import Session
from realtime.workshop import CopyStamp, Workshop
from streaming.errors import NameTaken, NoFreePlace, NoSuchSession
from streaming.service import Json

if TYPE_CHECKING:
    from realtime.engine import Engine
    from realtime.maps import MapDesk
    from realtime.model import Model
    from realtime.warm_up import WarmUp


#: Frames a second that each session is promised unless something else is asked for.
GPU_FPS, CPU_FPS = 24.0, 8.0

LOADING = "The model is still being loaded; this takes some seconds, try again."


class Hub:
    """A ``streaming.service.SessionHub``. Methods are called on the event loop.

    ``fps``: the frame rate that each session is promised; None for what suits the device. ``max_sessions`` are admitted
    at most, however quick the model is.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        *,
        max_sessions: int = 32,
        fps: float | None = None,
        copy_stamp: CopyStamp | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._load = load
        self._max_sessions = max_sessions
        self._fps = fps or 0.0
        self._copy_stamp = copy_stamp
        self._patience = patience or Patience()
        self._sessions: dict[str, Session] = {}
        self._model: Model | None = None
        self._desk: MapDesk | None = None
        self._loading = LOADING
        self._stopping = False
        self._pool = make_pool()
        self._metrics = Metrics()
        self._metrics.watch(
            sessions=lambda: len(self._sessions),
            viewers=lambda: sum(session.viewers for session in self._sessions.values()),
            ready=lambda: self.ready() is None,
            displaced=lambda: self._desk.displaced if self._desk else 0,
            levels=lambda: [session.governor_level for session in self._sessions.values()],
        )
        self._scheduler = Scheduler(self._load_engine, observer=self._metrics)

    # The life of the server.

    def start(self) -> None:
        """Begin to load the model, on the inference thread. Call it on the event loop that the sessions live on."""
        self._loop = asyncio.get_running_loop()
        self._scheduler.start()

    async def wait_ready(self) -> None:
        """Until a session can be admitted. Raises what loading the model raised."""
        await asyncio.shield(asyncio.wrap_future(self._scheduler.loaded))

    async def aclose(self) -> bool:
        """End all sessions and threads. False when the model is busy still. May be called twice."""
        self.close_all(reason="The server is stopping.")
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Loading can't be interrupted, and nobody is served by waiting for its end.
        patience = 5.0 if self._scheduler.loaded.done() else 0.1
        return await asyncio.to_thread(self._close_threads, patience)

    def _close_threads(self, patience: float) -> bool:
        maps_done = self._desk is None or self._desk.close(patience)
        return self._scheduler.close(patience) and maps_done

    def close_all(self, *, reason: str) -> None:
        """End all sessions and admit no more."""
        self._stopping = True
        for name in list(self._sessions):
            self.close(name, reason=reason)

    # SessionHub.

    def ready(self) -> str | None:
        """None once a session can be admitted, otherwise a sentence that says what is being waited for."""
        if self._stopping:
            return "The server is stopping."
        if not self._scheduler.loaded.done():
            return self._loading
        error = self._scheduler.loaded.exception()
        return None if error is None else f"The model could not be loaded: {error}"

    def about(self) -> Json:
        """What runs. Raises NoFreePlace until the model is there."""
        return self._ready_model().about

    def open(self, name: str | None = None, *, mode: str = "camera", settings: object = None) -> Session:
        """A new session, with a settings patch if one is given. Raises NameTaken, NoFreePlace or BadRequest."""
        model = self._ready_model()
        name = fresh_name() if name is None else check_name(name)
        what = check_mode(mode)
        first = first_settings(what, model.defaults, controls=model.controls)
        if settings is not None:
            first = apply_patch(first, settings, controls=model.controls, loras=model.loras)
        workshop = self._workshop(model)
        self._check_place(name, workshop.company(what, first), model.painter.size)
        session = Session(name, settings=first, workshop=workshop, mode=what, on_end=self._forget)
        self._sessions[name] = session
        return session

    def _check_place(self, name: str, company: Hashable, size: tuple[int, int]) -> None:
        if name in self._sessions:
            raise NameTaken(f"A session named {name!r} is live already; choose another name or stop that one.")
        if len(self._sessions) >= self._max_sessions:
            taken = "The only place is" if self._max_sessions == 1 else f"All {self._max_sessions} places are"
            raise NoFreePlace(f"{taken} taken; try again when somebody has left.")
        admission = Admission(self._scheduler.costs, size=size, fps=self._fps)
        live = [session.demand for session in self._sessions.values()]
        try:
            admission.check(live, Demand(company=company))
        except NoFreePlace:
            self._metrics.refused()
            raise

    def get(self, name: str) -> Session:
        """Raises NoSuchSession."""
        try:
            return self._sessions[name]
        except KeyError:
            raise NoSuchSession("There is no session of that name; it may have ended.") from None

    def sessions(self) -> Sequence[Session]:
        return list(self._sessions.values())

    def close(self, name: str, *, reason: str) -> None:
        """End a session and tell its listeners why. Closing one that is gone does nothing."""
        session = self._sessions.get(name)
        if session:
            session.close(reason)

    def metrics(self) -> tuple[bytes, str]:
        """The Prometheus page and its content type."""
        return self._metrics.page()

    # Inside.

    def _load_engine(self) -> Engine:
        """On the inference thread. The page is served by now, so what is heavy to import is imported here."""
        from realtime.maps import MapDesk

        self._model = model = self._load()
        self._desk = MapDesk(model.conditioners, device=model.painter.device)
        engine = model.engine(self._tell)
        self._fps = self._fps or (CPU_FPS if model.painter.device.type == "cpu" else GPU_FPS)
        return engine

    def _tell(self, step: WarmUp) -> None:
        self._loading = str(step)

    def _ready_model(self) -> Model:
        waiting_for = self.ready()
        if waiting_for or self._model is None:
            raise NoFreePlace(waiting_for or "The model is still being loaded.")
        return self._model

    def _workshop(self, model: Model) -> Workshop:
        assert self._desk is not None  # it is there once the model is ready
        return Workshop(
            loop=self._loop,
            scheduler=self._scheduler,
            desk=self._desk,
            sizes=model.painter.sizes,
            pool=self._pool,
            metrics=self._metrics,
            controls=model.controls,
            loras=model.loras,
            album=model.album,
            copy_stamp=self._copy_stamp,
            patience=self._patience,
        )

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.name, None)
