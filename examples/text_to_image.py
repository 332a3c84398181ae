"""Text alone to a picture, at any size: python examples/text_to_image.py OUT.png --model sd-turbo --prompt "a fox" """

import argparse

import cv2
import torch

from pipelines import SDXSPipeline, Settings

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("output")
parser.add_argument("--prompt", default="stained glass window")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--model", default="embedded", help="sdxs-512-dreamshaper, sd-turbo ...; see: sdxs-live models")
options = parser.parse_args()

pipe = SDXSPipeline.from_pretrained(options.model)
height, width = pipe.size

# No control, so no maps: their tensor says the size of the picture and nothing else (B×0×3×H×W).
settings = Settings(prompt=options.prompt, seed=options.seed, control="none")
painted = pipe(torch.zeros(1, 0, 3, height, width), [settings])[0]

pixels = painted.float().mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
cv2.imwrite(options.output, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
