"""Record a painted webcam, newest frame first: python examples/webcam.py OUT.mp4 --source camera:0 --pictures 300"""

import argparse
from fractions import Fraction
from pathlib import Path

import torch

from pipelines import SDXSPipeline, Settings
from pipelines.canny import CannyConditioner
from realtime.fit import fit
from streaming.errors import StreamingError
from streaming.sink import FileSink
from streaming.source import open_source

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("output", type=Path)
parser.add_argument("--source", default="camera:0", help="camera:0, a file, or test: for a moving pattern")
parser.add_argument("--prompt", default="neon lights at night")
parser.add_argument("--pictures", type=int, default=300)
options = parser.parse_args()

try:
    source = open_source(options.source)
except StreamingError as error:
    parser.error(str(error))

pipe = SDXSPipeline.from_pretrained("embedded")
settings = Settings(prompt=options.prompt)
draw = CannyConditioner().drawer()
sink = FileSink(options.output, rate=Fraction(30))

for _ in range(options.pictures):
    frame = source.read()
    if frame is None:
        break
    image = fit(frame.image, pipe.size)
    edges = torch.from_numpy(draw(image, settings).map).to(pipe.device)
    # On the frame path maps are uint8 B×K×H×W, K condition maps a picture, and pictures uint8 B×H×W×3.
    painted = pipe.paint_uint8(edges[None, None], [settings])[0].cpu().numpy()
    sink.write(frame.replace_image(painted))

sink.close()
source.close()
