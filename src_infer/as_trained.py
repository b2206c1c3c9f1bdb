"""A trained model is asked as it was trained: what its folder records (`src_core.trained_prompt`) is read
after the settings of the file and before those of the command line.

So one profile serves a model of any format: `METHOD=deeprag ADAPTER=runs/x/adapter bash infer.sh`. What the
command line sets against the record is refused (`require_trained_prompt`), and so is a method that asks in
another format than the model's (`method_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from src_core.config import load_config
from src_core.errors import UserError
from src_core.protocols import protocol_names
from src_core.trained_prompt import trained_format, trained_prompt
from src_infer.config import InferConfig
from src_infer.methods import Method, load_method, method_names
from src_infer.prompts import PROMPTS, load_prompt

Config = TypeVar("Config", bound=InferConfig)

TOKENIZER = ("tokenizer.json", "chat_template.jinja")
"""What a folder must hold so that the tokenizer of its training can score decisions."""


def load_as_trained(cls: type[Config], path: Path | None, overrides: Sequence[str]) -> Config:
    """The configuration: defaults < file < record of the folder `trained` < `overrides`. Raises `UserError`
    as `load_config` does, and for a damaged record.
    """
    config = load_config(cls, path, overrides)
    if not config.trained:
        return config
    return load_config(cls, path, [*recorded_settings(Path(config.trained)), *overrides])


def recorded_settings(folder: Path) -> list[str]:
    """What the record of `folder` says as `key=value`: format, prompt and, for a format of this package, the
    tokenizer beside it; nothing without a record. A system prompt that no file of `configs/prompts` holds is
    left out.
    """
    prompt = trained_prompt(folder)
    if prompt is None:
        return []
    settings = {f"prompt.{name}": value for name, value in prompt.items() if name != "system"}
    named = _prompt_named(prompt.get("system", ""))
    if named is not None:
        settings["prompt.system"] = named
    if (trained := trained_format(folder)) in protocol_names():
        settings["protocol"] = trained
        if all((folder / name).is_file() for name in TOKENIZER):
            settings["agent.tokenizer"] = str(folder)
    return [f"{key}={value}" for key, value in settings.items()]


def method_of(config: InferConfig) -> Method:
    """The method of a configuration with its settings. Raises `UserError` as `load_method` does, for settings
    that it cannot use, and where the model was trained for a format that it does not ask in.
    """
    method = load_method(config.method, config.method_settings)
    method.require_settings()
    _require_fit(config, method)
    return method


def _require_fit(config: InferConfig, method: Method) -> None:
    """Raises `UserError` where the model was trained for a format that the method does not ask in. Methods
    without formats of their own pass, except `rearag` where another method asks in that format.
    """
    trained = trained_format(Path(config.trained)) if config.trained else ""
    if not trained:
        return
    fitting = [name for name in method_names() if trained in load_method(name).formats]
    if not (fitting if config.method == "rearag" else method.formats) or trained in method.formats:
        return
    raise UserError(
        f"the model in {config.trained} was trained for the format {trained}, which the method "
        f"{config.method} does not ask in; set METHOD={' or '.join(fitting) or 'rearag'} for this model, or "
        "name another model for this method (without a GPU, MODEL=qwen2.5-coder-1.5b takes the prompts of "
        "every method), or set trained= to ask it in another way"
    )


def _prompt_named(text: str) -> str | None:
    """The prompt file that holds `text`, None where there is none; "" for no text."""
    if not text:
        return ""
    names = sorted(path.stem for path in PROMPTS.glob("*.txt"))
    return next((name for name in names if load_prompt(name) == text), None)
