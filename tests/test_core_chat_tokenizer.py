"""Masks: what is learnt is what the model writes, and what it sees is what inference sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.chat_tokenizer import ChatTokenizer, EncodeError
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import Finish, Search, Step
from tests.helpers_train import FAMILIES, style, tokenizer_folder

TERMINATORS = {"glm4": None, "qwen": "<|im_end|>", "smollm2": "<|im_end|>", "llama3": "<|eot_id|>"}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(family: str, tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(tokenizer_folder(tmp_path_factory.mktemp("model"), family))


def steps(*observations: str) -> list[Step]:
    made = [
        Step(n, f"I need fact {n}.", Search(f"What is {n}?"), observation=text)
        for n, text in enumerate(observations, start=1)
    ]
    return [*made, Step(len(made) + 1, "Now I know it.", Finish("Ann Lee"), observation=None)]


def turns(family: str, made: list[Step]) -> list[dict[str, str]]:
    return ReaRag(style(family)).turns("Who won, and when?", made)


def learnt(encoder: ChatTokenizer, messages: list[Any]) -> list[str]:
    """The learnt tokens, decoded run by run."""
    encoded = encoder.encode(messages)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], encoded.trainable.astype(np.int8), [0]))))
    return [encoder.decode(encoded.ids[a:b].tolist()) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_learnt_tokens_are_the_reasoning_and_its_terminator(encoder: ChatTokenizer, family: str) -> None:
    made = turns(family, steps("Red Rain won.", "In 1956."))
    reasoning = [turn["reasoning"] for turn in made if "reasoning" in turn]
    runs = learnt(encoder, ReaRag(style(family)).lay_out(made))
    if family == "glm4":
        ends = ["<|observation|>", "<|observation|>", "<|endoftext|>"]
        assert runs == [f"\n{text}{end}" for text, end in zip(reasoning, ends, strict=True)]
    else:
        assert runs == [f"{text}{TERMINATORS[family]}" for text in reasoning]


def test_inference_sends_the_very_tokens_that_were_trained(encoder: ChatTokenizer, family: str) -> None:
    made = steps("Red Rain won.", "In 1956: “yes” – naïve 北京.")
    messages = ReaRag(style(family, system="Be brief.")).lay_out(turns(family, made))
    whole = encoder.encode(messages)
    starts = np.flatnonzero(np.diff(np.concatenate(([0], whole.trainable.astype(np.int8)))) == 1)
    for n, start in enumerate(starts.tolist()):
        before = ReaRag(style(family, system="Be brief.")).lay_out(
            ReaRag(style(family)).turns("Who won, and when?", made[:n])
        )
        assert encoder.prompt_ids(before) == whole.ids[:start].tolist()


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    other=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
)
def test_another_observation_changes_no_target(
    encoder: ChatTokenizer, family: str, text: str, other: str
) -> None:
    """Whatever was observed, the same tokens are learnt."""

    def targets(observation: str) -> list[int] | None:
        messages = ReaRag(style(family)).lay_out(turns(family, steps(observation)))
        try:
            encoded = encoder.encode(messages)
        except EncodeError:  # an observation of blanks alone
            return None
        return encoded.ids[encoded.trainable].tolist()

    first, second = targets(f"It is {text}."), targets(f"It is {other}.")
    assert first is not None
    assert first == second


def test_a_template_that_drops_a_role_is_an_error(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, "qwen")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    native = PromptStyle(observation_role="observation")
    messages = ReaRag(native).lay_out(ReaRag(native).turns("Who?", steps("Ann.")))
    with pytest.raises(EncodeError, match=r"drops or changes turn 3, of role 'observation'"):
        ChatTokenizer(folder).encode(messages)


def test_a_template_that_refuses_a_role_says_so(tmp_path: Path) -> None:
    native = PromptStyle(observation_role="observation")
    messages = ReaRag(native).lay_out(ReaRag(native).turns("Who?", steps("Ann.")))
    with pytest.raises(UserError, match="ChatML has no role observation"):
        ChatTokenizer(tokenizer_folder(tmp_path, "qwen")).encode(messages)


def test_a_template_that_rewrites_history_is_an_error(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, "qwen")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    plain = style("qwen")
    with pytest.raises(EncodeError, match="once others"):
        ChatTokenizer(folder).encode(ReaRag(plain).lay_out(ReaRag(plain).turns("Who?", steps("Ann."))))


def test_a_reply_without_special_token_behind_it_is_an_error(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path, "qwen")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    plain = style("qwen")
    with pytest.raises(EncodeError, match="no special token behind a reply"):
        ChatTokenizer(folder).encode(ReaRag(plain).lay_out(ReaRag(plain).turns("Who?", steps("Ann."))))


def test_what_a_folder_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        ChatTokenizer(tmp_path)
    folder = tokenizer_folder(tmp_path / "m", "qwen")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        ChatTokenizer(folder)
    with pytest.raises(UserError, match="no such chat template"):
        ChatTokenizer(folder, template=tmp_path / "none.jinja")
    assert ChatTokenizer(folder, template=Path("configs/chat_templates/chatml.jinja")).vocabulary > 256
