"""Small tokenizer folders in the hub's layout, one per chat-template family, and conversations to encode."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import Finish, Search, Step

TEMPLATES = Path("configs/chat_templates")


class Family(NamedTuple):
    """A template family: its file, its special tokens (end of text first) and its role for observations."""

    template: str
    special: tuple[str, ...]
    observation_role: str


FAMILIES = {
    "glm4": Family(
        "glm4.jinja",
        ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
        "observation",
    ),
    "qwen": Family("chatml.jinja", ("<|im_end|>", "<|endoftext|>", "<|im_start|>"), "user"),
    "smollm2": Family("chatml.jinja", ("<|im_end|>", "<|endoftext|>", "<|im_start|>"), "user"),
    "llama3": Family(
        "llama3.jinja",
        ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
        "ipython",
    ),
}
_TEXT = (
    "Question: Who directed the film that won? Reasoning process with function call: "
    "Thought 1: I need the film. "
    'Action 1: {"function": "search", "parameters": {"query": "Which film won?"}} '
    "Observation 1: Red Rain won. Thought 2: Now I know it. "
    'Action 2: {"function": "finish", "parameters": {"answer": "Ann Lee"}} '
)


def tokenizer_folder(folder: Path, family: str, *, vocabulary: int = 420) -> Path:
    """A byte-level BPE tokenizer of a few sentences, with the family's special tokens and template."""
    made = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True) if family == "smollm2" else None
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, split]) if digits else split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(made.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT] * 4, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": made.special[0], "pad_token": made.special[1], "bos_token": made.special[1]}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text((TEMPLATES / made.template).read_text())
    return folder


def style(family: str, *, system: str = "") -> PromptStyle:
    return PromptStyle(
        system=system,
        observation_role=FAMILIES[family].observation_role,
        observation_template="Observation {n}: {observation}",
    )


def write_rows(path: Path, rows: list[list[dict[str, str]]], *, plain: int = 0) -> Path:
    """A conversation file, in which the last `plain` rows are plain conversations."""
    formats = [{}] * (len(rows) - plain) + [{"format": "chat"}] * plain
    made = ({**name, "messages": row} for name, row in zip(formats, rows, strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def chains(count: int, *, seed: int = 1) -> list[list[dict[str, str]]]:
    """Conversations of different lengths, one or two searches each."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        steps = [
            Step(
                n,
                f"I need fact {n} of {number}." + " More." * draw.randrange(6),
                Search(f"What is {number}?"),
                observation="It is " + "so " * draw.randrange(1, 30) + ".",
            )
            for n in range(1, draw.randrange(2, 4))
        ]
        steps.append(Step(len(steps) + 1, "Now I know it.", Finish(f"Ann {number}"), observation=None))
        made.append(ReaRag(PromptStyle()).turns(f"Who won race {number}?", steps))
    return made


def pair_rows(count: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Preference pairs of different lengths: after one search, finishing is better than searching again."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        fill = " More." * draw.randrange(6)
        seen = "It is " + "so " * draw.randrange(1, 20) + "."
        first = Step(1, f"I need fact 1 of {number}.{fill}", Search(f"What is {number}?"), observation=seen)
        end = Step(2, "Now I know it.", Finish(f"Ann {number}"), observation=None)
        again = Step(2, "Once more.", Search(f"What else is {number}?"), observation=f"That is {seen}")
        then = Step(3, "Known.", Finish(f"Ann {number}"), observation=None)
        question = f"Who won race {number}?"
        short = ReaRag(PromptStyle()).turns(question, [first, end])
        long = ReaRag(PromptStyle()).turns(question, [first, again, then])
        made.append({"format": "rearag", "prompt": short[:3], "chosen": short[3:], "rejected": long[3:]})
    return made


def model_folder(folder: Path, family: str = "qwen", *, seed: int = 0) -> Path:
    """A two-layer Llama of random weights with the family's tokenizer, in the hub's layout. Needs torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer_folder(folder, family)
    torch.manual_seed(seed)
    vocabulary = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]) + 16
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def train_settings(tmp_path: Path, folder: Path, **more: Any) -> Path:
    """A configuration file of a short run in float32."""
    rows = write_rows(tmp_path / "train.jsonl", chains(24))
    values: dict[str, Any] = {
        "run_name": "run",
        "runs_dir": str(tmp_path / "runs"),
        "model": str(folder),
        "train": [{"path": str(rows)}],
        "prompt": {"observation_role": "user", "observation_template": "Observation {n}: {observation}"},
        "max_length": 600,
        "pack_length": 600,
        "accumulation": 2,
        "precision": "fp32",
        "learning_rate": 1e-3,
        "max_steps": 6,
        "save_steps": 2,
        "eval_steps": 2,
        "threads": 1,
        **more,
    }
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def write_json_rows(path: Path, rows: list[Any]) -> Path:
    """Any rows, one per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def logged(run: Path, name: str) -> dict[int, float]:
    """A value of a run's log, by step."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of this interpreter, on one thread."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def killed_run(*arguments: str, module: str = "run") -> None:
    """A run that is killed at the beginning of its fifth step; `module` of `src_train` is its command."""
    killed = python("-c", KILLED_AT_5.replace("MODULE", module), *arguments)
    assert killed.returncode == -9, killed.stderr


def killed_before_the_result(*arguments: str, module: str = "run") -> None:
    """A run that is killed after its last step, before it writes a result."""
    killed = python("-c", KILLED_AFTER_TRAINING.replace("MODULE", module), *arguments)
    assert killed.returncode == -9, killed.stderr


KILLED_AFTER_TRAINING = """
import os, signal, sys
from src_train import MODULE as run
train = run.run_steps
def train_and_kill(*args, **kwargs):
    train(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
run.run_steps = train_and_kill
run.main(sys.argv[1:])
"""


KILLED_AT_5 = """
import os, signal, sys
from transformers import TrainerCallback
from src_train import MODULE as run
class Kill(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
make = run.make_trainer
def with_kill(*args):
    trainer, log = make(*args)
    trainer.add_callback(Kill())
    return trainer, log
run.make_trainer = with_kill
run.main(sys.argv[1:])
"""
