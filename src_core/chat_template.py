"""A model's own chat template without transformers: it renders the text that a completion endpoint gets.

Reads `chat_template.jinja`, or `chat_template` and the special tokens of `tokenizer_config.json` (the file
layout of the Hugging Face hub), and renders it in Jinja's sandbox with the names that templates expect
(`raise_exception`, `strftime_now`, `tojson`, `{% generation %}`, and empty `tools` and `documents`).
Templates that print today's date print a fixed one (`DATE`), so that a conversation has the same tokens on
every day. Source: the chat-template chapter of the transformers documentation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from time import strftime, strptime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from src_core.errors import UserError
from src_core.json_file import read_object

DATE = "26 Jul 2024"
"""The date in templates that print one; it is the one that Llama 3's template falls back to."""
_DAY = strptime(DATE, "%d %b %Y")
_MARK = "\ue000"  # a private-use character: no template gives it a meaning
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_BROKEN = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What rendering a template can raise; a template is a file that came with a model."""


class ChatTemplate:
    """The template of one tokenizer folder; `template` is a Jinja file that replaces the folder's template.
    Raises `UserError` when there is no template or it is invalid.
    """

    def __init__(self, folder: Path, *, template: Path | None = None) -> None:
        self._folder = folder
        config = _read_config(folder)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _strftime
        environment.globals["date_string"] = DATE
        try:
            self._template = environment.from_string(_chosen_template(folder, config, template))
        except TemplateError as error:
            raise UserError(
                f"the chat template in {folder} is broken: {error}; fetch it again or correct it"
            ) from error
        self._tokens = {name: _token_text(config.get(name)) for name in _TOKENS if config.get(name)}

    def token(self, name: str) -> str:
        """A special token by its key in `tokenizer_config.json` (`eos_token`), "" where the file has no such
        key.
        """
        return self._tokens.get(name, "")

    def render_begun(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt text that ends with the content of the last message, which the model goes on with.
        Raises `UserError` as `render`.
        """
        *before, last = messages
        marked = self.render([*before, {**last, "content": _MARK}], generation_prompt=False)
        return marked.rpartition(_MARK)[0] + last["content"]

    def render(self, messages: Sequence[dict[str, str]], *, generation_prompt: bool = True) -> str:
        """The prompt text for `messages`. Raises `UserError` for a role that the template refuses."""
        try:
            return self._template.render(
                messages=list(messages),
                tools=None,
                documents=None,
                add_generation_prompt=generation_prompt,
                **self._tokens,
            )
        except _BROKEN as error:
            raise UserError(
                f"the chat template in {self._folder} refuses the messages: {error}; use the template of "
                "the model"
            ) from error


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` marks what the model writes; it is rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        raise UserError(
            f"no tokenizer_config.json in {folder}; give a tokenizer folder as the hub lays it out"
        )
    return read_object(path, advice="fetch the tokenizer again")


def template_text(folder: Path, config: dict[str, Any]) -> str:
    """The default chat template of a hub folder: the file `chat_template.jinja`, or one text or the list
    entry named `default` in `config`, its tokenizer's configuration; "" where there is none.
    """
    own = folder / "chat_template.jinja"
    if own.is_file():
        return _template_file(own)
    found = config.get("chat_template")
    if isinstance(found, list):
        entries = [entry for entry in found if isinstance(entry, dict)]
        found = next((entry.get("template") for entry in entries if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else ""


def _chosen_template(folder: Path, config: dict[str, Any], template: Path | None) -> str:
    """`template`, or the folder's own. Raises `UserError` where there is none."""
    if template is not None:
        if not template.is_file():
            raise UserError(f"no such chat template: {template}; check the path")
        return _template_file(template)
    found = template_text(folder, config)
    if not found:
        raise UserError(f"the tokenizer in {folder} has no chat template; use the chat endpoint instead")
    return found


def _template_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"the chat template {path} cannot be read ({error}); fetch it again") from error


def _token_text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _tojson(value: Any, indent: int | None = None) -> str:
    """JSON as transformers writes it: without HTML escapes, which Jinja's own filter adds."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _strftime(form: str) -> str:
    return strftime(form, _DAY)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
