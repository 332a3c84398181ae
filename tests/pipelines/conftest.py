from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import StableDiffusionControlNetPipeline

from tests.pipelines import tiny


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusionControlNetPipeline, Path]:
    """diffusers' own pipeline with random weights, and the directory it saved them to. Not to be changed."""
    return tiny.save(tmp_path_factory.mktemp("tiny"))
