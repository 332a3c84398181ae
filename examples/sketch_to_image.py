"""A drawing, black on white, to a picture: python examples/sketch_to_image.py DRAWING.png OUT.png --strength 0.8"""

import argparse

import cv2
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.sketch import SketchConditioner

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("drawing")
parser.add_argument("output")
parser.add_argument("--prompt", default="neon lights at night")
parser.add_argument("--strength", type=float, default=0.8)
parser.add_argument("--model", default="embedded", help="or sdxs-512-dreamshaper; see: sdxs-live models")
options = parser.parse_args()

drawing = cv2.imread(options.drawing)
if drawing is None:
    parser.error(f"{options.drawing} is no picture that can be read")

pipe = SDXSPipeline.from_pretrained(options.model)
height, width = pipe.size
drawing = cv2.cvtColor(cv2.resize(drawing, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

# "drawn" takes the picture itself for the drawing; "lineart_standard", "pidinet" ... would draw one from a photograph.
settings = Settings(
    prompt=options.prompt, control="sketch", sketch_detector="drawn", conditioning_scale=options.strength
)
strokes = SketchConditioner(device=pipe.device).drawer()(drawing, settings).map

painted = pipe(torch.from_numpy(strokes).float().div(255).expand(1, 3, -1, -1), [settings])[0]
pixels = painted.float().mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
cv2.imwrite(options.output, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
