"""Paint one picture: python examples/paint_picture.py IN.jpg OUT.png --prompt "ink drawing" """

import argparse

import cv2
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.canny import CannyConditioner

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("input")
parser.add_argument("output")
parser.add_argument("--prompt", default="neon lights")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

picture = cv2.imread(options.input)
if picture is None:
    parser.error(f"{options.input} is no picture that can be read")

pipe = SDXSPipeline.from_pretrained("embedded")
height, width = pipe.size
picture = cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

settings = Settings(prompt=options.prompt, seed=options.seed)
edges = CannyConditioner()(picture, settings).map

# The call takes a batch of condition maps, float B×3×H×W in [0, 1], and one Settings for each.
condition = torch.from_numpy(edges).float().div(255).expand(1, 3, -1, -1)
painted = pipe(condition, [settings])[0]

pixels = painted.mul(255).round().byte().permute(1, 2, 0).numpy()
cv2.imwrite(options.output, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
