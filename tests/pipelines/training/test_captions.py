"""Captions name their style in many wordings, or say nothing about it; the tokenizer takes any text."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.training.drawn.captions import COLOURS, WORDINGS, caption, english_words, subject_caption
from pipelines.training.drawn.styles import DEFAULT, STYLES
from pipelines.training.text import LENGTH, build_tokenizer


def test_every_style_has_wordings_of_its_own() -> None:
    assert set(WORDINGS) == set(STYLES)
    every = [wording for wordings in WORDINGS.values() for wording in wordings]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("style", STYLES)
def test_a_caption_holds_a_wording_or_belongs_to_the_default(style: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        text, tint = caption(style, rng)
        named = any(wording in text for wording in WORDINGS[style])
        assert named or style == DEFAULT
        if tint is not None:
            assert any(colour in text and hue == tint for colour, hue in COLOURS.items())


def test_the_default_style_is_sometimes_asked_for_with_no_words() -> None:
    rng = np.random.default_rng(6)
    texts = [caption(DEFAULT, rng)[0] for _ in range(100)]
    assert "" in texts
    assert len(set(texts)) > 50


def test_captions_repeat_with_their_generator() -> None:
    one, other = np.random.default_rng(7), np.random.default_rng(7)
    assert [caption("neon", one) for _ in range(20)] == [caption("neon", other) for _ in range(20)]


@pytest.mark.parametrize("style", STYLES)
def test_a_subjects_caption_names_it_and_its_colour(style: str) -> None:
    rng = np.random.default_rng(8)
    tints, alone = 0, 0
    for _ in range(300):
        text, tint = subject_caption(style, ("bicycle", "bike"), rng)
        assert "bicycle" in text or "bike" in text
        named = any(wording in text for wording in WORDINGS[style])
        assert named or style == DEFAULT
        alone += not named
        if tint is not None:
            tints += 1
            assert any(f"{colour} bi" in text and hue == tint for colour, hue in COLOURS.items())
    assert 20 < tints < 75
    assert (alone > 0) == (style == DEFAULT)


def test_a_subject_with_a_colour_of_its_own_is_given_no_other() -> None:
    rng = np.random.default_rng(9)
    assert {subject_caption("oil", ("red apple",), rng)[1] for _ in range(100)} == {None}


def test_about_every_seventh_caption_has_a_colour_word() -> None:
    rng = np.random.default_rng(10)
    assert 100 < sum(caption("neon", rng)[1] is not None for _ in range(1000)) < 200


def test_the_tokenizer_takes_known_and_unknown_words(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["stained glass window", "neon sign"] * 5, tmp_path, 1024)
    assert tokenizer.model_max_length == LENGTH
    assert tokenizer.decode(tokenizer("neon sign").input_ids, skip_special_tokens=True).strip() == "neon sign"
    for text in ("neon sign", "Ünïcode 猫 42", ""):
        numbers = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True).input_ids
        assert len(numbers) == LENGTH
        assert max(numbers) < len(tokenizer)
        assert numbers[0] == tokenizer.bos_token_id
    assert tokenizer.unk_token_id not in tokenizer.convert_tokens_to_ids(tokenizer.tokenize("猫 xyzzy ü"))
    assert len(english_words()) > 1000
