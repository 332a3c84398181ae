"""A small CLIP-shaped text encoder and its tokenizer: byte-pair encoding learned on captions and plain English."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipelines.training.drawn.captions import english_words

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(lines: Sequence[str], folder: Path, vocabulary: int, length: int = LENGTH) -> CLIPTokenizer:
    """Learn the vocabulary on ``lines`` and the English words, write it in CLIP's files to ``folder`` and load it.

    ``vocabulary``: at most so many tokens; bytes and marks are 514 of them. ``length``: tokens of a prompt, the two
    marks included.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, end_of_word_suffix="</w>")
    learner.train_from_iterator([line.lower() for line in lines] + 2 * list(english_words()), trainer)
    trained = json.loads(learner.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in trained["merges"]]
    merges = merges[: vocabulary - 2 - 2 * len(alphabet)]  # the most frequent come first
    # As in CLIP's vocabulary: every byte, every byte as the end of a word, then the merges.
    symbols = [*alphabet, *(letter + "</w>" for letter in alphabet), *(merge.replace(" ", "") for merge in merges)]
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {symbol: index for index, symbol in enumerate(dict.fromkeys([*symbols, START, END]))}
    _write(folder / "vocab.json", json.dumps(vocab, ensure_ascii=False))
    _write(folder / "merges.txt", "#version: 0.2\n" + "\n".join(merges))
    marks = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    _write(folder / "special_tokens_map.json", json.dumps(marks, indent=2))
    config = {**marks, "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def build_text_encoder(tokenizer: Any, width: int, layers: int) -> CLIPTextModel:
    """CLIP's text transformer with random weights, ``width`` wide, in the length and vocabulary of ``tokenizer``."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=8.0,  # CLIP's σ of 0.02 is meant for wide layers; narrow ones start too quiet
    )
    return CLIPTextModel(config)


def _write(path: Path, text: str) -> None:
    """In one piece: several training processes may write the same file at once."""
    own = path.with_suffix(f".{os.getpid()}")
    own.write_text(text + "\n", encoding="utf-8")
    own.replace(path)
