"""Think blocks are kept apart; completion endpoints get what the chat template makes of the messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.chat_template import ChatTemplate
from src_core.errors import UserError
from src_core.think import split_think

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who {{ 7*7 }} <b>?"}]


@pytest.mark.parametrize(
    ("text", "think", "said"),
    [
        ("Thought 1: x", "", "Thought 1: x"),
        ("<think>a\nb</think>\n\nThought 1: x", "a\nb", "Thought 1: x"),
        ("a b</think>Thought 1: x", "a b", "Thought 1: x"),
        ("  <think>never closed", "never closed", ""),
        ("<think></think>x", "", "x"),
        ("say </think> twice </think> now", "say", "twice </think> now"),
        ("Thought 1: what does <think> mean", "", "Thought 1: what does <think> mean"),
    ],
)
def test_split(text: str, think: str, said: str) -> None:
    assert split_think(text) == (think, said)


@given(st.text(alphabet="ab <>/think\n", max_size=80))
def test_what_was_said_is_a_tail_of_the_reply(text: str) -> None:
    assert text.endswith(split_think(text).text)


def folder(tmp_path: Path, config: dict[str, object], template: str | None = None) -> Path:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (tmp_path / "chat_template.jinja").write_text(template)
    return tmp_path


@pytest.mark.parametrize("where", ["file", "text", "list"])
def test_template_is_found_wherever_tokenizers_keep_it(tmp_path: Path, where: str) -> None:
    entries = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]
    config = {"file": {}, "text": {"chat_template": CHATML}, "list": {"chat_template": entries}}[where]
    template = ChatTemplate(folder(tmp_path, config, CHATML if where == "file" else None))
    assert template.render(MESSAGES) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho {{ 7*7 }} <b>?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert template.render(MESSAGES, generation_prompt=False).endswith("<|im_end|>\n")


def test_special_tokens_and_helpers_of_templates(tmp_path: Path) -> None:
    check = "{% if messages[0].role == 'x' %}{{ raise_exception('no x') }}{% endif %}"
    text = "{{ bos_token }}{{ messages[0] | tojson }}" + check
    template = ChatTemplate(folder(tmp_path, {"bos_token": {"content": "<s>"}}, text))
    assert template.render([{"role": "user", "content": "<é>"}]) == '<s>{"role": "user", "content": "<é>"}'
    with pytest.raises(UserError, match="no x"):
        template.render([{"role": "x", "content": ""}])


def test_a_hostile_template_stays_in_the_sandbox(tmp_path: Path) -> None:
    text = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(UserError, match="refuses"):
        ChatTemplate(folder(tmp_path, {}, text)).render(MESSAGES)


@pytest.mark.parametrize(
    ("config", "template", "match"),
    [(None, None, "no tokenizer_config"), ({}, None, "no chat template"), ({}, "{% if %}", "broken")],
)
def test_broken_folders(
    tmp_path: Path, config: dict[str, object] | None, template: str | None, match: str
) -> None:
    if config is not None:
        folder(tmp_path, config, template)
    with pytest.raises(UserError, match=match):
        ChatTemplate(tmp_path)


def test_what_templates_of_the_hub_use_is_there(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text(
        "{% if tools is not none %}{{ tools | length }} tools{% endif %}{% for m in messages %}"
        "{% if m.role == 'assistant' %}{% generation %}<{{ m.content }}>{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert ChatTemplate(tmp_path).render(messages) == "q<a>"
