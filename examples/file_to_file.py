"""A film, every frame, its sound kept: python examples/file_to_file.py IN.mp4 OUT.mp4 --prompt "ink drawing" """

import argparse
from pathlib import Path

from realtime.errors import RealtimeError
from realtime.film import check_paths, open_film, paint_film
from realtime.model import load
from streaming.errors import StreamingError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("input", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--prompt", default="ink drawing")
parser.add_argument("--prompt-b", default="", help="walk to this prompt and back while the film runs")
options = parser.parse_args()

try:
    check_paths(options.input, options.output)
    model = load("embedded", backend="auto", device="auto")
    walk = "prompts" if options.prompt_b else "none"
    settings = model.defaults.replace(prompt=options.prompt, prompt_b=options.prompt_b, walk=walk, walk_seconds=2.0)
    with open_film(options.input, options.output) as (reading, writing):
        paint_film(reading, writing, model, settings, painted=lambda count: print("." * count, end="", flush=True))
except (RealtimeError, StreamingError) as error:
    parser.error(str(error))
print()
