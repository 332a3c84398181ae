"""Pictures from an exported directory through diffusers' own pipeline: how the trainer measures what it shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from numpy.typing import NDArray

import pipelines.subpixel  # noqa: F401  diffusers finds the class by its module, which it imports for nobody


def open_pipeline(directory: Path) -> Any:
    """diffusers' ControlNet pipeline on an exported directory, float32, quiet."""
    controlnet = ControlNetModel.from_pretrained(directory / "controlnet")
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(directory, controlnet=controlnet, safety_checker=None)
    pipeline.to(torch.float32)  # the weights lie there in half precision
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: Any, edges: NDArray[np.uint8], prompt: str, *, seed: int = 0, strength: float = 1.0
) -> NDArray[np.uint8]:
    """One picture (H×W×3 uint8 RGB) from an edge map (H×W, 0 or 255, white on black), in one step."""
    condition = torch.from_numpy(cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)).permute(2, 0, 1)[None].float() / 255
    picture = pipeline(
        prompt,
        image=condition,
        num_inference_steps=1,
        guidance_scale=0.0,
        controlnet_conditioning_scale=float(strength),
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images[0]
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
