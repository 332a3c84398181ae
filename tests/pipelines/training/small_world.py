"""Canvases and subjects as the prepare command leaves them, a few and generated."""

import json
from pathlib import Path

import cv2
import numpy as np

SUBJECTS = ("fox", "red apple", "rocket")


def a_canvas(seed: int) -> np.ndarray:
    """Bright overlapping shapes on a dark ground: long clean lines, 256×256×3."""
    rng = np.random.default_rng(seed)
    canvas = np.full((256, 256, 3), 40, np.uint8)
    for place in range(20, 240, 44):
        colour = rng.integers(90, 250, 3).tolist()
        cv2.circle(canvas, (place, 250 - place), int(rng.integers(24, 44)), colour, -1)
        cv2.rectangle(canvas, (place, place // 2), (place + 30, place // 2 + 50), colour[::-1], -1)
    return canvas


def a_subject(number: int) -> np.ndarray:
    """An opaque shape of one colour in the middle of nothing, 256×256×4."""
    subject = np.zeros((256, 256, 4), np.uint8)
    colour = [(230, 120, 30, 255), (220, 20, 40, 255), (120, 130, 220, 255)][number]
    cv2.circle(subject, (128, 128), 100, colour, -1)
    cv2.circle(subject, (100, 100), 20 + 5 * number, (20, 20, 20, 255), -1)
    return subject


def small_world(folder: Path, canvases: int = 20) -> Path:
    np.save(folder / "canvases.npy", np.stack([a_canvas(seed) for seed in range(canvases)]))
    np.save(folder / "subjects.npy", np.stack([a_subject(number) for number in range(len(SUBJECTS))]))
    (folder / "subjects.json").write_text(json.dumps(SUBJECTS), encoding="utf-8")
    return folder
