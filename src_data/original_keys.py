"""The key names of the original's `data_config.yaml` (reference rearag.md section 6.1), translated into
this project's settings, so that a file of the original works unchanged.

Three of its keys have no effect here; they are taken with a note (`SUPERSEDED`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SECTION = "build_conv"
SUPERSEDED = {
    "output_dir": "a run is kept in runs_dir/run_name",
    "output_file": "chains are kept in trajectories.jsonl of the run directory",
    "save_batch_size": "every chain is on disk as soon as it ends",
}
"""Keys of the original's `build_conv` section that have no effect here, and why."""
Translated = dict[str, Any]


class _Key(NamedTuple):
    """Where a key of the original goes, and what becomes of its value."""

    path: str
    value: Callable[[Any], Any] = lambda value: value


def base_url(url: Any) -> Any:
    """The original's `http://host:port/generate` as the OpenAI base URL of the same server, and its
    `http://host:port/search` as that of the retriever.
    """
    if not isinstance(url, str):
        return url
    plain = url.rstrip("/").removesuffix("/search")
    return f"{plain.removesuffix('/generate')}/v1" if plain.endswith("/generate") else plain


_KEYS = {
    "max_tries": _Key("limits.step_tries"),  # here per step, there per question
    "iter_num_max": _Key("limits.t_max"),
    "llm_api": _Key("agent.url", base_url),
    "llm_tokenizer_path": _Key("agent.tokenizer"),
    "gen_api": _Key("reader.url", base_url),
    "ans_tokenizer_path": _Key("reader.tokenizer"),
    "retriever_api": _Key("retriever", base_url),
    "top_k": _Key("top_k"),
    "num_workers": _Key("in_flight"),
}


def translate_section(section: Translated) -> tuple[Translated, list[str]]:
    """The section `build_conv` in this project's names, and notes on keys without effect."""
    notes = [f"{SECTION}.{key} has no effect: {SUPERSEDED[key]}" for key in SUPERSEDED if key in section]
    made = {key: value for key, value in section.items() if key not in SUPERSEDED and key not in _KEYS}
    for key in _KEYS.keys() & section.keys():
        place: Any = made.setdefault("runtime", {})
        *path, last = _KEYS[key].path.split(".")
        for name in path:
            place = place.setdefault(name, {})
        place[last] = _KEYS[key].value(section[key])
    return made, notes


def translate_overrides(overrides: Sequence[str]) -> list[str]:
    """`key=value` settings in this project's names."""
    made = []
    for item in overrides:
        name, sign, value = item.partition("=")
        key = _KEYS.get(name.removeprefix(f"{SECTION}.")) if name.startswith(f"{SECTION}.") else None
        made.append(f"{SECTION}.runtime.{key.path}{sign}{key.value(value)}" if key else item)
    return made
