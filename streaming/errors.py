"""The few exceptions of this package. Each carries one sentence a person can act on and the HTTP status it becomes."""


class StreamingError(Exception):
    """Base of everything this package raises on purpose. ``status`` is the HTTP status the server answers with."""

    status = 500
    title = "Internal error"


class BadRequest(StreamingError):
    """What the client sent can't be used: broken SDP, broken JSON, a setting out of its range."""

    status = 400
    title = "Bad request"


class NoSuchSession(StreamingError):
    """There is no session of that name (any more)."""

    status = 404
    title = "No such session"


class NameTaken(StreamingError):
    """A session of that name is already live."""

    status = 409
    title = "Name taken"


class NoFreePlace(StreamingError):
    """The device has no place for another session now. ``retry_after`` is in seconds."""

    status = 503
    title = "No free place"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceError(StreamingError):
    """A camera, file or stream can't be opened or stopped giving frames."""

    status = 400
    title = "Source failed"


class SinkError(StreamingError):
    """An output can't be opened or can't take more frames (no permission, disk full, no such encoder)."""

    status = 500
    title = "Output failed"


class NotADrawing(StreamingError):
    """A drawing was sent to a session whose pictures come from a camera."""

    status = 409
    title = "Not a drawing"
