"""A small world for reinforcement learning: questions of the sample world whose answer is a letter that only
a search can find, a model of two layers with random weights, and settings of a run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models

QUESTIONS = Path("data/sample_world/questions.jsonl")
PROTOCOL = "tests/data/rl_protocol.py"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz ?<>|_"


def letter_folder(folder: Path) -> Path:
    """A tokenizer with one token per character, and a template of one special token per turn."""
    special = ["<|end|>", "<|user|>", "<|model|>"]
    vocabulary = {token: number for number, token in enumerate([*special, *_ALPHABET])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="_"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    (folder / "chat_template.jinja").write_text(
        "{%- for m in messages -%}{%- if m['role'] == 'assistant' -%}<|model|>{{ m['content'] }}<|end|>"
        "{%- else -%}<|user|>{{ m['content'] }}{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}<|model|>{%- endif -%}"
    )
    return folder


def letter_model(folder: Path, *, seed: int = 0) -> Path:
    """A two-layer Llama of random weights with that tokenizer. Needs torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    letter_folder(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(_ALPHABET) + 3,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def letter_world(folder: Path, *, copies: int = 8) -> tuple[Path, Path]:
    """Questions and corpus: the beginning of a question of the sample world and two letters that make it one
    of its own; its answer is a letter that stands in the passage that a search for it finds. There are too
    many of them to be learned by heart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    questions, passages = folder / "questions.jsonl", folder / "corpus.jsonl"
    texts = ["".join(c for c in row["question"].lower() if c in _ALPHABET)[:16] for row in rows]
    names = [f"{chr(97 + at // 26 % 26)}{chr(97 + at % 26)}" for at in range(len(texts) * copies)]
    with questions.open("w") as out, passages.open("w") as corpus:
        for number, name in enumerate(names):
            text = f"{name} {texts[number % len(texts)]}"
            answer = "abcd"[hashlib.sha256(text.encode()).digest()[0] % 4]
            passage = {"id": f"p{number}", "contents": f"{text}\nthe answer is {answer}"}
            corpus.write(json.dumps(passage) + "\n")
            row = {"id": str(number), "question": text, "answers": [answer], "gold_ids": [f"p{number}"]}
            out.write(json.dumps(row) + "\n")
    return questions, passages


def rl_settings(tmp_path: Path, model: Path, **more: Any) -> Path:
    """The settings of a short run as a file."""
    questions, corpus = letter_world(tmp_path / "world")
    values: dict[str, Any] = {
        "run_name": "rl",
        "runs_dir": str(tmp_path / "runs"),
        "learner": {"model": str(model), "lora": None, "precision": "fp32", "learning_rate": 1e-3},
        "serving": {"kind": "local", "slots": 64},
        "runtime": {
            "retriever": f"toy:{corpus}",
            "protocol": PROTOCOL,
            "prompt": {"system": ""},
            "limits": {"t_max": 4, "step_tries": 1},
            "top_k": 1,
        },
        "rollout": {"max_reply_tokens": 1, "max_tokens": 120},
        "questions": [{"path": str(questions)}],
        "questions_per_step": 8,
        "group_size": 8,
        "steps": 4,
        "threads": 1,
        **more,
    }
    path = tmp_path / "rl.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path
