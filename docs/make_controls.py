"""Take docs/controls.jpg anew: one photograph under canny, under sketch and under both: python docs/make_controls.py"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from skimage import data

from pipelines import SDXSPipeline, Settings
from pipelines.conditioners import make_conditioners
from realtime.fit import fit

STYLES = ("ink drawing", "neon lights at night", "blueprint", "stained glass window", "comic book")
ROWS = (
    Settings(control="canny"),
    Settings(control="sketch"),
    Settings(control="canny", conditioning_scale=0.5, extra_controls={"sketch": 0.5}),
)

pipe = SDXSPipeline.from_pretrained("embedded")
drawers = {kind: each.drawer() for kind, each in make_conditioners(pipe.controls, device=pipe.device).items()}
photo = fit(data.astronaut()[:330, 60:390], pipe.size)

rows = []
for settings in ROWS:
    maps = np.stack([drawers[kind](photo, settings).map for kind in settings.kinds])
    shown = np.repeat(maps[0][..., None], 3, axis=2) if len(maps) == 1 else photo
    planes = torch.from_numpy(maps)[None]
    painted = [pipe.paint_uint8(planes, [settings.replace(prompt=style)])[0].numpy().copy() for style in STYLES]
    rows.append(np.concatenate([shown, *painted], axis=1))

sheet = cv2.cvtColor(np.concatenate(rows, axis=0), cv2.COLOR_RGB2BGR)
cv2.imwrite(str(Path(__file__).parent / "controls.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])
