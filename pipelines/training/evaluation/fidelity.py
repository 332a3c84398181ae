"""FID and KID: how far the distribution of painted pictures is from that of real ones. 0 is best, lower is better.

FID (arXiv 1706.08500, eq. 6): the Fréchet distance between Gaussians fitted to the features of both sets,
|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½). It falls with the number of pictures, so compare like with like; published ones
are of 5,000 to 50,000. KID (arXiv 1801.01401): the squared MMD of the features with a cubic kernel, unbiased, so fewer
pictures will do; it may come out slightly below 0. Both by torch-fidelity.
"""

from __future__ import annotations

import torch

from pipelines.errors import TrainingError
from pipelines.training.evaluation.features import Features
from pipelines.training.evaluation.score import Score

#: Pictures in one of KID's subsets, and how many subsets are drawn.
SUBSET, SUBSETS = 1000, 100


def fid(real: Features, painted: Features) -> float:
    """FID of two sets of features, N×D and M×D, two pictures each at least. Raises TrainingError for fewer."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    _check(real, painted)
    first, second = (fid_features_to_statistics(torch.from_numpy(each)) for each in (real, painted))
    return float(fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID])


def kid(real: Features, painted: Features) -> tuple[float, float]:
    """KID of two sets of features, N×D and M×D: the mean over random subsets, and their standard deviation."""
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    _check(real, painted)
    subset = max(2, min(SUBSET, min(len(real), len(painted)) // 2))
    found = kid_features_to_metric(
        torch.from_numpy(real),
        torch.from_numpy(painted),
        kid_subsets=SUBSETS,
        kid_subset_size=subset,
        verbose=False,
    )
    return float(found[KEY_METRIC_KID_MEAN]), float(found[KEY_METRIC_KID_STD])


def fid_score(real: Features, painted: Features, *, extractor: str) -> Score:
    """As a line of the table; ``extractor`` names what the features are."""
    about = f"{extractor}, {len(painted)} pictures against {len(real)}"
    return Score(metric="fid", value=fid(real, painted), better="lower", about=about)


def kid_score(real: Features, painted: Features, *, extractor: str) -> Score:
    """As a line of the table, with its spread over the subsets."""
    mean, spread = kid(real, painted)
    about = f"{extractor}, {len(painted)} pictures against {len(real)}"
    return Score(metric="kid", value=mean, spread=spread, better="lower", about=about)


def _check(real: Features, painted: Features) -> None:
    if min(len(real), len(painted)) < 2:
        raise TrainingError("FID and KID need two pictures of each kind at least; raise --count.")
