"""The few exceptions of this package: each message is one sentence that says what is wrong and what to do."""


class PipelineError(Exception):
    """Base of everything this package raises on purpose."""


class SettingsError(PipelineError):
    """A setting is unknown or out of its range."""


class CheckpointError(PipelineError):
    """A model directory can't be loaded: a file is missing or broken, or a tensor doesn't fit. Names both."""


class BackendError(PipelineError):
    """The asked-for backend can't run here."""
