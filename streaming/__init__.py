"""Time, no tensors: frames, sources, sinks and WebRTC. Never imports torch, pipelines or realtime."""

from streaming.errors import StreamingError
from streaming.frame import Frame

__all__ = ["Frame", "StreamingError"]
