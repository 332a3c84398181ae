"""The few exceptions of this package: each message is one sentence that says what is wrong and what to do."""


class PipelineError(Exception):
    """Base of everything this package raises on purpose."""


class SettingsError(PipelineError):
    """A setting is unknown or out of its range."""


class CheckpointError(PipelineError):
    """A model directory can't be loaded: a file is missing or broken, or a tensor doesn't fit. Names both."""


class NoSuchModel(CheckpointError):
    """No preset, directory or repository has that name. Says which names there are."""


class BackendError(PipelineError):
    """The asked-for backend can't run here."""


class DownloadError(PipelineError):
    """A model's files are not here and can't be fetched. Says which files go where."""


class MisfitError(PipelineError):
    """A part (ControlNet, LoRA, decoder) doesn't fit the model. Names both."""


class MemoryShortage(PipelineError):
    """The model needs more memory than is free. Says how much of each."""


class TrainingError(PipelineError):
    """A training run can't start or go on: what is missing, broken or diverged, and what to do."""


class TrainingStopped(TrainingError):
    """Somebody asked a training run to stop: everything is saved. Says how to go on."""
