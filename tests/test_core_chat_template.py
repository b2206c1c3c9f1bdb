"""Chat templates of transformers: marks of what the model writes, dates, and templates that break."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from src_core.chat_template import DATE, ChatTemplate
from src_core.errors import UserError

HELLO = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": " hi "}]


def template(folder: Path, text: str) -> ChatTemplate:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": text, "eos_token": "<e>"}))
    return ChatTemplate(folder)


@pytest.mark.parametrize(
    "marks",
    [
        ("{% generation %}", "{% endgeneration %}"),
        ("{%- generation -%}", "{%- endgeneration -%}"),
        ("", ""),
    ],
)
def test_marks_of_what_the_model_writes_are_ignored_and_their_contents_kept(
    tmp_path: Path, marks: tuple[str, str]
) -> None:
    reply = marks[0] + "{{ m.content }}<e>" + marks[1]
    turns = "{% for m in messages %}<s>{{ m.role }}:" + reply + "{% endfor %}"
    assert template(tmp_path, turns).render(HELLO) == "<s>user:hello<e><s>assistant: hi <e>"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("{{ strftime_now('%d %b %Y') }}", DATE),
        ("{{ strftime_now('%Y-%m-%d') }}", "2024-07-26"),
        ("{{ strftime_now('%H:%M') }}", "00:00"),
        ("{{ date_string }}", DATE),
        (
            "{% if date_string is defined %}{{ date_string }}{% else %}{{ strftime_now('%d') }}{% endif %}",
            DATE,
        ),
    ],
)
def test_todays_date_is_the_same_on_every_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, date: str
) -> None:
    assert template(tmp_path / "a", text).render(HELLO) == date
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setattr(time, "strftime", lambda *_: "another day")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(4e9))
    assert template(tmp_path / "b", text).render(HELLO) == date


@pytest.mark.parametrize(
    "text",
    [
        "{{ raise_exception('no') }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 / 0 }}",
        "{{ strftime_now(1) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ messages.__class__.__mro__ }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_a_template_that_breaks_is_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"the chat template in .* refuses the messages"):
        template(tmp_path, text).render(HELLO)
