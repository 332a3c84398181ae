"""Features and CLIP scores from real classes of transformers and torch-fidelity, tiny or with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines.errors import CheckpointError, TrainingError
from pipelines.training.evaluation import features as module
from pipelines.training.evaluation.clip import ClipScore, clip_score
from pipelines.training.evaluation.features import Inception, open_extractor
from tests.pipelines import tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP with random weights, its tokenizer and its picture processor, in one directory."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    folder = tmp_path_factory.mktemp("clip")
    words = tiny.tokenizer(folder / "words")
    torch.manual_seed(0)
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 12,
        "eos_token_id": len(words) - 1,
        "bos_token_id": len(words) - 2,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model.save_pretrained(folder / "model")
    CLIPProcessor(pictures, words).save_pretrained(folder / "model")
    return folder / "model"


def pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 40, 48, 3), np.uint8))


def test_a_vision_model_s_features_are_transformers_own(clip: Path) -> None:
    from transformers import CLIPImageProcessor, CLIPVisionModel

    extractor = open_extractor(clip, device=CPU)
    shown = pictures(5)
    found = extractor(shown)
    assert found.shape == (5, 32)
    seen = CLIPImageProcessor.from_pretrained(clip)(images=shown, return_tensors="pt")["pixel_values"]
    expected = CLIPVisionModel.from_pretrained(clip)(seen).pooler_output.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "CLIPVisionModel" in extractor.name


def test_inception_is_torch_fidelity_s_from_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    def fetch(*_: object, **__: object) -> object:
        torch.manual_seed(0)
        return fresh

    file = tmp_path / "inception.pth"
    torch.manual_seed(0)
    with monkeypatch.context() as patched:  # its constructor knows no way to random weights
        patched.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patched.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        network = fidelity.FeatureExtractorInceptionV3("inception", ["2048"])
    fresh = network.state_dict()
    torch.save(fresh, file)
    found = open_extractor(file, device=CPU)
    assert isinstance(found, Inception)
    shown = pictures(3)
    with torch.no_grad():
        (expected,) = network(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2))
    np.testing.assert_allclose(found(shown), expected.numpy(), atol=1e-4)


def test_what_is_no_inception_is_refused_and_never_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"harm": Harm()}, tmp_path / "harmful.pth")
    with pytest.raises(CheckpointError, match=r"harmful\.pth can't be read as weights"):
        open_extractor(tmp_path / "harmful.pth", device=CPU)
    assert not (tmp_path / "ran").exists()
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(TrainingError, match=r"other\.pth holds no weights of torch-fidelity's Inception"):
        open_extractor(tmp_path / "other.pth", device=CPU)


def test_without_weights_one_sentence_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--features") as error:
        open_extractor("", device=CPU)
    assert module.INCEPTION in str(error.value)
    with pytest.raises(TrainingError, match="neither a file nor a directory"):
        open_extractor(tmp_path / "nothing", device=CPU)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(TrainingError, match="holds no vision model"):
        open_extractor(tmp_path, device=CPU)


def test_clip_scores_are_the_cosines_of_transformers_own_embeddings(clip: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    shown, prompts = pictures(4), ["a b", "c", "d e f", ""]
    found = ClipScore(clip, device=CPU)(shown, prompts)
    given = CLIPProcessor.from_pretrained(clip)(text=prompts, images=shown, return_tensors="pt", padding=True)
    output = CLIPModel.from_pretrained(clip)(**given)
    cosines = (output.image_embeds * output.text_embeds).sum(-1)
    assert found == pytest.approx((100 * cosines.clamp(min=0)).tolist(), abs=1e-4)
    score = clip_score(found, model="tiny")
    assert score.value == pytest.approx(np.mean(found))
    assert (score.better, score.about) == ("higher", "tiny, 4 pairs")


def test_a_clip_score_says_what_is_missing(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a prompt a picture, not 1 for 2"):
        ClipScore(clip, device=CPU)(pictures(2), ["a"])
    with pytest.raises(TrainingError, match="give it as --clip-model DIR"):
        ClipScore(tmp_path, device=CPU)
