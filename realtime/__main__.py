"""``python -m realtime`` is ``sdxs-live``."""

from realtime.cli import main

main()
