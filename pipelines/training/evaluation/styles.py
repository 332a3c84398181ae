"""Style accuracy: how often a small classifier names the style that a picture was asked for in. 0 to 1, higher is
better; guessing gives one in the number of styles.

Multinomial logistic regression on ``style_features``, trained on other outputs: the pictures are halved, it learns on
views (whole, mirrored, cut out) of one half with other seeds and names the other half's, and then the other way round,
so that no picture is judged by one that saw it painted. The outputs that it learns on are the model's own, or those of
another: the teacher's, say. ``style-confusion``: the largest share of one style's pictures that was taken for one
other, lower is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipelines.errors import TrainingError
from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.painter import Painter
from pipelines.training.evaluation.score import Score
from pipelines.training.evaluation.style_features import Features, style_features

Picture = NDArray[np.uint8]
Counts = NDArray[np.int64]
#: Seeds that the judge learns on begin here, those that it is tried on at 0.
APART = 10_000
_ITERATIONS, _DECAY = 200, 1e-3


class StyleJudge:
    """Logistic regression by L-BFGS on features in their deviations: the same each time."""

    def __init__(self, features: Features, labels: NDArray[np.int64]) -> None:
        """``features`` N×D of pictures in the styles ``labels``, whole numbers from 0."""
        self._middle, self._spread = features.mean(0), features.std(0) + 1e-3
        self._layer = nn.Linear(features.shape[1], int(labels.max()) + 1).double()
        for weights in self._layer.parameters():
            nn.init.zeros_(weights)
        shown, wanted = torch.from_numpy(self._scaled(features)), torch.from_numpy(labels)
        solver = torch.optim.LBFGS(self._layer.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> float:
            solver.zero_grad()
            found = nn.functional.cross_entropy(self._layer(shown), wanted) + _DECAY * self._layer.weight.square().sum()
            found.backward()
            return float(found.detach())

        with torch.enable_grad():
            solver.step(loss)

    @torch.no_grad()
    def __call__(self, features: Features) -> NDArray[np.int64]:
        """The styles it takes them for, N."""
        found: NDArray[np.int64] = self._layer(torch.from_numpy(self._scaled(features))).argmax(1).numpy()
        return found

    def _scaled(self, features: Features) -> Features:
        return (features - self._middle) / self._spread


def measure(bench: Bench) -> list[Score]:
    """A line a style, their mean, and the worst confusion. Raises TrainingError for fewer than two of either."""
    names = list(bench.named_styles())
    if len(names) < 2 or len(bench.pictures) < 2:
        raise TrainingError("Styles are told apart from each other: give two at least, and two pictures.")
    counts = _tried(bench)
    of_whom = "its own" if bench.judge is bench.painter else f"{bench.judge.name}'s"
    return scores(names, counts, about=f"{int(counts.sum())} pictures, judge trained on {of_whom}")


def scores(names: Sequence[str], counts: Counts, *, about: str) -> list[Score]:
    """As lines of the table; ``counts``: how often the style of each row was taken for that of each column."""
    shares = counts / counts.sum(1, keepdims=True)
    lines = [
        Score(metric="style-accuracy", value=float(shares[place, place]), better="higher", part=name, about=name)
        for place, name in enumerate(names)
    ]
    about = f"mean of {len(names)} styles, {about}"
    lines.append(Score(metric="style-accuracy", value=float(np.diag(shares).mean()), better="higher", about=about))
    mistaken = shares - np.diag(np.diag(shares))
    one, other = divmod(int(mistaken.argmax()), len(names))
    worst = f"worst: {names[one]} taken for {names[other]}" if mistaken.max() else "none was mistaken"
    return [*lines, Score(metric="style-confusion", value=float(mistaken.max()), better="lower", about=worst)]


def views(picture: Picture) -> list[Picture]:
    """What the judge learns on of one picture: it, its mirror image, and two cuts of three quarters, one mirrored."""
    height, width = picture.shape[:2]
    rows, columns = 3 * height // 4, 3 * width // 4
    cuts = picture[:rows, :columns], np.ascontiguousarray(picture[-rows:, -columns:][:, ::-1])
    grown = [cv2.resize(cut, (width, height), interpolation=cv2.INTER_CUBIC) for cut in cuts]
    return [picture, np.ascontiguousarray(picture[:, ::-1]), *(np.asarray(each, np.uint8) for each in grown)]


def _tried(bench: Bench) -> Counts:
    """How often each style was taken for each, over both ways round."""
    prompts = bench.named_styles()
    tried = _by_style(bench, prompts)
    counts = np.zeros((len(prompts), len(prompts)), np.int64)
    for half in (0, 1):
        shown = [view for picture in bench.pictures[half::2] for view in views(picture)]
        judge = StyleJudge(*_lesson(bench.judge, bench, shown, prompts))
        for label, pictures in enumerate(tried.values()):
            np.add.at(counts[label], judge(style_features(pictures[1 - half :: 2])), 1)
    return counts


def _by_style(bench: Bench, prompts: Mapping[str, str]) -> Mapping[str, list[Picture]]:
    painted = bench.by_style(bench.control)
    if painted.keys() == prompts.keys():
        return painted
    count = len(bench.pictures)  # data have prompts of their own
    return {
        name: bench.painter.paint(bench.pictures, bench.settings([prompt] * count, bench.control))
        for name, prompt in prompts.items()
    }


def _lesson(
    painter: Painter, bench: Bench, shown: Sequence[Picture], prompts: Mapping[str, str]
) -> tuple[Features, NDArray[np.int64]]:
    features = []
    for place, prompt in enumerate(prompts.values()):
        first = bench.wanted.seed + APART + place * len(shown)
        settings = bench.settings([prompt] * len(shown), bench.control, seed=first)
        features.append(style_features(painter.paint(shown, settings)))
    return np.concatenate(features), np.repeat(np.arange(len(prompts)), len(shown))
