"""Entropies, attention and hidden states of a tiny model of random weights, and probes on them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError
from src_core.protocols.records import ChatTurn
from src_core.types import Status
from src_models import inner_states
from src_models.inner_states import MOST_TEXT, InnerStates, open_inner_states
from src_models.probes import open_probes
from tests.helpers_methods import answered, runtime_for, script
from tests.helpers_train import model_folder

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

TEXT = " I need the film. Red Rain won."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def states(folder: Path) -> InnerStates:
    return InnerStates(folder)


def whole_pass(folder: Path, ids: list[int]) -> Any:
    """The same pass by transformers' own switch."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        return model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)


def test_a_reading_is_what_the_model_computed(folder: Path, states: InnerStates) -> None:
    tokenizer = ChatTokenizer(folder)
    prompt = states.prompt_ids(
        [ChatTurn.of("user", "Which film won?"), ChatTurn.of("assistant", "So", trained=True)]
    )
    ids = tokenizer.text_ids(TEXT)
    reading = states.read(TEXT, prompt=prompt)
    assert "".join(TEXT[start:end] for start, end in reading.spans) == TEXT
    whole = whole_pass(folder, [*prompt, *ids])
    logs = torch.log_softmax(whole.logits[0, len(prompt) - 1 : -1].float(), dim=-1)
    assert reading.entropies == pytest.approx(-(logs.exp() * logs).sum(-1).numpy(), abs=1e-4)
    expected = whole.attentions[-1][0, :, len(prompt) :, len(prompt) :].numpy()
    assert reading.attention.shape == (4, len(ids), len(ids))
    assert reading.attention == pytest.approx(expected, abs=1e-5)


def test_a_text_without_a_prompt_has_no_first_entropy(folder: Path, states: InnerStates) -> None:
    alone = states.read(TEXT)
    assert alone.entropies[0] == 0
    assert (alone.entropies[1:] > 0).all()
    assert alone.attention.sum(axis=2) == pytest.approx(1.0, abs=1e-4)  # nothing is outside the text
    assert alone.attention[:, 0, 1:] == pytest.approx(0.0)  # nor later
    with_prompt = states.read(TEXT, prompt=states.prompt_ids([ChatTurn.of("user", "Hm?")]))
    assert with_prompt.attention.sum(axis=2).max() < 1.0


def test_a_token_without_any_chance_leaves_the_entropy_a_number(
    states: InnerStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some models give unused rows of their vocabulary a logit of -inf."""
    whole, forward = states.read(TEXT).entropies, states._model.forward

    def masked(*given: Any, **more: Any) -> Any:
        out = forward(*given, **more)
        out.logits[..., 0] = -torch.inf
        return out

    monkeypatch.setattr(states._model, "forward", masked)
    assert states.read(TEXT).entropies == pytest.approx(whole, abs=0.1)


def test_hostile_long_and_empty_texts(states: InnerStates) -> None:
    assert states.read("\ud800<|im_end|> \x00é😀").spans
    long = "a " * 3000
    assert len(states.read(long, prompt=[1] * 5000).spans) == MOST_TEXT
    assert states.read(long, from_end=True).spans[-1][1] == len(long)
    assert states.read(long).spans[0][0] == 0
    with pytest.raises(ValueError, match="no text"):
        states.read("")


def test_many_questions_load_one_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions in flight ask for it at the same time."""
    loaded = []

    class Slow(InnerStates):
        def __init__(self, at: Path) -> None:
            loaded.append(at)
            time.sleep(0.05)

    monkeypatch.setattr(inner_states, "InnerStates", Slow)
    inner_states._opened.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_inner_states(str(folder), "dragin"), range(4)))
    inner_states._opened.cache_clear()
    assert loaded == [folder]
    assert len(set(map(id, found))) == 1


def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer"):
        InnerStates(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError):
        open_inner_states(str(tmp_path), "dragin")


@pytest.mark.parametrize("formula", ["paper", "code"])
def test_dragin_with_a_model_of_random_weights(formula: str, folder: Path, tmp_path: Path) -> None:
    replies = ["Red Rain won the prize. Ann Lee directed Red Rain.", "So the answer is: Ann Lee"]
    model = script(tmp_path / "s.jsonl", [("Answer the last question as in the examples", replies)])
    row = answered("dragin", runtime_for(model), model=str(folder), formula=formula, threshold=0.0)
    assert (row.status, row.answer, row.searches) == (Status.FINISHED, "Ann Lee", 1)
    assert row.provenance["attention_passes"] == (3 if formula == "paper" else 5)
    never = answered(
        "dragin",
        runtime_for(script(tmp_path / "t.jsonl", [("", replies)])),
        model=str(folder),
        formula=formula,
        threshold=1e9,
    )
    assert never.searches == 0


def write_probes(folder: Path, width: int, **signs: float) -> Path:
    """Probes whose class 0 has the probability 1, 0 or 1/2 for any state of one sign per value."""
    for name, sign in signs.items():
        place = folder / f"{name}_aware"
        place.mkdir(parents=True)
        torch.save(
            {"score.weight": torch.tensor([[sign] * width, [0.0] * width])}, place / f"{name}_cls_7b.pth"
        )
    return folder


def test_uar_decides_by_its_probes(folder: Path, states: InnerStates, tmp_path: Path) -> None:
    state = states.last_state(states.prompt_ids([ChatTurn.of("user", "Where was the author of Emma born?")]))
    assert state.shape == (64,)
    side = 1.0 if state.sum() > 0 else -1.0
    probes = write_probes(
        tmp_path / "p", 64, intent=-99 * side, know=-99 * side, time=-99 * side, self=99 * side
    )
    found = open_probes(probes, ("intent", "know", "time", "self")).scores(state)
    assert found == pytest.approx({"intent": 0.0, "know": 0.0, "time": 0.0, "self": 1.0}, abs=1e-3)
    model = script(tmp_path / "s.jsonl", [("", ["So the answer is: Steventon"])])
    row = answered("uar", runtime_for(model), probes=str(probes), model=str(folder))
    assert (row.searches, row.usage.calls, row.provenance["decided_by"]) == (1, 1, "probes")
    assert row.provenance["retrieves"] is True
    assert row.provenance["criteria"]["self"] > 0.99


def test_probes_that_cannot_be_used(states: InnerStates, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 files intent_cls"):
        open_probes(tmp_path / "none", ("intent",))
    narrow = write_probes(tmp_path / "narrow", 8, intent=1.0)
    state = states.last_state([1, 2])
    with pytest.raises(UserError, match="width 8, the model has 64"):
        open_probes(narrow, ("intent",)).scores(state)
    broken = write_probes(tmp_path / "broken", 64, intent=float("nan"))
    with pytest.raises(UserError, match="computes no number"):
        open_probes(broken, ("intent",)).scores(state)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "time_cls.pth").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(UserError, match="is not a probe"):
        open_probes(tmp_path / "bad", ("time",))
    torch.save({"score.weight": torch.zeros(3, 64)}, tmp_path / "bad" / "self_cls.pth")
    with pytest.raises(UserError, match=r"shape \(3, 64\)"):
        open_probes(tmp_path / "bad", ("self",))
