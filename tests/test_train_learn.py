"""Two layers of random weights learn the loop from the sample world, in a minute on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag, parse_step
from src_core.protocols.records import ParsedStep, PromptStyle
from src_core.types import Finish, Search, Step
from tests.helpers_train import model_folder, train_settings, write_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from src_train.run import main  # noqa: E402

STYLE = PromptStyle(observation_role="user", observation_template="Observation {n}: {observation}")
QUESTIONS = Path("data/sample_world/questions.jsonl")


def world_chains() -> list[list[dict[str, str]]]:
    """The annotated decompositions of the sample world as chains."""
    made = []
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        steps = [
            Step(n, "I need this fact.", Search(hop["question"]), observation=f"{hop['answer']}.")
            for n, hop in enumerate(row.get("decomposition", ()), start=1)
        ]
        if steps:
            steps.append(Step(len(steps) + 1, "Now I know it.", Finish(row["answers"][0]), observation=None))
            made.append(ReaRag(PromptStyle()).turns(row["question"], steps))
    return made


def valid_first_steps(folder: Path, rows: list[list[dict[str, str]]]) -> list[bool]:
    """Whether the model's greedy first reply to each row's question is a step of the loop."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = ChatTokenizer(folder)
    valid = []
    for row in rows:
        prompt = encoder.prompt_ids(ReaRag(STYLE).lay_out(row[:1]))
        ids = torch.tensor([prompt])
        reply = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=160, do_sample=False
        )[0, len(prompt) :]
        text = encoder.decode(reply.tolist())
        valid.append(isinstance(parse_step(text), ParsedStep))
    return valid


def test_random_weights_learn_to_act(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = model_folder(tmp_path / "model")
    rows = world_chains()
    path = train_settings(
        tmp_path, folder, learning_rate=4e-3, max_steps=240, save_steps=240, accumulation=1, pack_length=600
    )
    write_rows(tmp_path / "train.jsonl", rows)
    assert main([str(path)]) == 0
    assert not any(valid_first_steps(folder, rows[:3]))
    valid = valid_first_steps(tmp_path / "runs/run/model", rows[:10])
    assert sum(valid) >= 9, valid


def test_training_goes_on_from_an_adapter(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    path = str(
        train_settings(tmp_path, folder, lora={"rank": 4, "alpha": 8}, max_steps=4, learning_rate=1e-2)
    )
    assert main([path, "run_name=first"]) == 0
    first = tmp_path / "runs/first/adapter"
    assert main([path, "run_name=second", f"lora.start_from={first}"]) == 0
    ended, begun = (
        [json.loads(line).get("loss") for line in (tmp_path / f"runs/{run}/log.jsonl").open()]
        for run in ("first", "second")
    )
    assert begun[0] < ended[0] - 0.05, "it would begin where the first one began"
    for change in ("lora.rank=2", "lora.alpha=4"):
        with pytest.raises(UserError, match=r"set lora\.rank, lora\.alpha"):
            main([path, f"run_name={change}", f"lora.start_from={first}", change])
    with pytest.raises(UserError, match=r"has no adapter_model\.safetensors"):
        main([path, "run_name=fourth", f"lora.start_from={tmp_path}"])


def test_an_adapter_is_stored_in_sixteen_bits(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    path = train_settings(tmp_path, folder, lora={"rank": 4, "alpha": 8}, max_steps=2)
    assert main([str(path)]) == 0
    adapter = tmp_path / "runs/run/adapter"
    weights = load_file(adapter / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert len(weights) == 2 * 2 * 7  # two matrices for each of seven layers' products, twice
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert (adapter / "tokenizer.json").is_file()
