"""One picture in every style of the model, in one batch: python examples/many_styles.py IN.jpg OUT.png"""

import argparse

import cv2
import numpy as np
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.canny import CannyConditioner

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("input")
parser.add_argument("output")
options = parser.parse_args()

picture = cv2.imread(options.input)
if picture is None:
    parser.error(f"{options.input} is no picture that can be read")

pipe = SDXSPipeline.from_pretrained("embedded")
height, width = pipe.size
picture = cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)

# Samples of one batch may differ in everything: prompt, seed, conditioning scale.
settings = [Settings(prompt=style.prompt, seed=i) for i, style in enumerate(pipe.preset.styles)]
edges = torch.from_numpy(CannyConditioner()(picture, settings[0]).map)
painted = pipe.paint_uint8(edges.expand(len(settings), 1, -1, -1), settings).cpu().numpy()

cv2.imwrite(options.output, cv2.cvtColor(np.concatenate([picture, *painted], axis=1), cv2.COLOR_RGB2BGR))
