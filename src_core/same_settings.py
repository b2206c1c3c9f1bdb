"""Whether a run would be resumed with the settings that it was started with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from src_core.served import Record
from src_core.server_addresses import moved
from src_core.text import without_login

# Settings that may change between a run and its resumption: they do not change any row.
_FREE = frozenset(
    {
        *("run_name", "runs_dir", "in_flight", "on_existing", "n_questions", "show_steps"),
        *("stop_after_minutes", "min_rows", "max_rounds"),  # when a run ends, or asks further questions
    }
)
# The first n questions of a mixture are among its first n + 1: a run with more keeps its rows and goes on. So
# are the first n steps of reinforcement learning, whose rate does not depend on their number.
_GROWING = frozenset({"n_sample", "build_conv.n_sample", "steps"})
_MEANINGS = {"data_digest": ": other rows to train on", "start_digest": ": other weights to start from"}
_ONCE_UNKNOWN = frozenset({"start_digest"})
"""Settings that older runs have not written, and that are not compared with theirs."""


def other_settings(before: dict[str, Any], now: dict[str, Any], served: Sequence[Record]) -> str:
    """The settings that differ between a run's file and its resumption, with what is known of them, for a
    sentence ("": none). An address that leads to what was `served` before is the same.
    """
    now = {key: value for key, value in now.items() if key in before or key not in _ONCE_UNKNOWN}
    if settings_fingerprint(before) == settings_fingerprint(now):
        return ""
    differing = dict(_differing(_fixed(before), _fixed(now)))
    same = moved(before, now, served) if differing else set()
    return ", ".join(f"{name}{differing[name]}" for name in sorted(differing) if name not in same)


def settings_fingerprint(config: dict[str, Any]) -> str:
    """Hash of the settings that determine the rows."""
    return hashlib.sha256(orjson.dumps(_fixed(config), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _FREE}


def _differing(before: dict[str, Any], now: dict[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """The settings with other values, with their sections, and of addresses both values in words; a number of
    questions may grow.
    """
    for key in {*before, *now}:
        name, old, new = f"{section}{key}", before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{name}.")
        elif old != new and not (name in _GROWING and _grew(old, new)):
            addresses = all(isinstance(each, str) and "://" in each for each in (old, new))
            yield name, without_login(f": {old}, now {new}") if addresses else _MEANINGS.get(name, "")


def _grew(old: object, new: object) -> bool:
    """Whether a number (-1: all) became larger."""
    return isinstance(old, int) and isinstance(new, int) and old >= 0 and (new < 0 or new > old)
