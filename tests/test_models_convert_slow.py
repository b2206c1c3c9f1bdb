"""The 135M for real: hub folder and back, an adapter beside the base and merged, in llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_gguf import hub_logits, llama_log_probs, log_softmax, lora_model

from src_models.adapters import require_gguf_adapter
from src_models.convert.merge import merge
from src_models.convert.to_gguf import to_gguf
from src_models.convert.to_hf import to_hf
from src_models.fetch import ensure_model

pytestmark = [pytest.mark.slow, pytest.mark.training]
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    TURN.format("What is the capital of France?"),
    TURN.format("Question: In which town was the librettist of Don Giovanni born?") + "Thought 1:",
    "The river Danube flows through ten countries, among them",
]
WORDS = 20
FULL_RANK_MB = 12.0


@pytest.fixture(scope="module")
def base() -> Path:
    return ensure_model("smollm2-135m")


@pytest.fixture(scope="module")
def hub(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "smollm2"
    to_hf(base, folder)
    return folder


def difference(one: dict[int, float], other: dict[int, float]) -> float:
    """Largest difference of a log-probability among the ten likeliest words of `one`."""
    top = sorted(one, key=lambda word: -one[word])[: WORDS // 2]
    assert set(top) <= set(other)
    return max(abs(one[word] - other[word]) for word in top)


@pytest.mark.parametrize(("kind", "close"), [("base", 0.15), ("f16", 0.5), ("q8_0", 0.5)])
def test_there_and_back(base: Path, hub: Path, tmp_path: Path, kind: str, close: float) -> None:
    to_gguf(hub, base, tmp_path / "back.gguf", kind=kind)
    for prompt in PROMPTS:
        before = llama_log_probs(base, prompt, words=WORDS)
        after = llama_log_probs(tmp_path / "back.gguf", prompt, words=2 * WORDS)
        assert difference(before, after) < close


def test_llama_cpp_and_transformers_agree_on_the_file(base: Path, hub: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    to_gguf(hub, base, tmp_path / "back.gguf", kind="f16")
    model = AutoModelForCausalLM.from_pretrained(hub, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(hub)
    for prompt in PROMPTS:
        wanted = log_softmax(hub_logits(model, tokenizer(prompt)["input_ids"])[-1])
        found = llama_log_probs(tmp_path / "back.gguf", prompt, words=WORDS)
        assert max(abs(found[word] - wanted[word]) for word in found) < 0.05


def test_an_adapter_beside_the_base_and_merged(base: Path, hub: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = tmp_path / "plain.gguf"
    to_gguf(hub, base, plain, kind="f16")
    for rank, kind in ((8, "f16"), (16, "f16"), (32, "q8_0")):
        folder = tmp_path / f"adapter{rank}"
        model = AutoModelForCausalLM.from_pretrained(hub, dtype="float32")
        lora_model(model, r=rank, lora_alpha=4).save_pretrained(folder)
        to_gguf(folder, base, folder.with_suffix(".gguf"), kind=kind)
        require_gguf_adapter(folder.with_suffix(".gguf"), base)
        assert folder.with_suffix(".gguf").stat().st_size < FULL_RANK_MB * 1e6
    adapter = tmp_path / "adapter16"
    merge(adapter, hub, tmp_path / "merged")
    to_gguf(tmp_path / "merged", base, tmp_path / "merged.gguf", kind="f16")
    for prompt in PROMPTS:
        alone = llama_log_probs(plain, prompt, words=WORDS)
        beside = llama_log_probs(plain, prompt, lora=adapter.with_suffix(".gguf"), words=WORDS)
        whole = llama_log_probs(tmp_path / "merged.gguf", prompt, words=2 * WORDS)
        moved = max(abs(alone.get(word, -20.0) - value) for word, value in beside.items())
        assert moved > 0.5
        assert difference(beside, whole) < 0.1
