"""Every number in the settings has a range, and a value outside is refused with it before anything starts."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from pathlib import Path
from typing import Any

import pytest

from src_core.config import load_config
from src_core.errors import UserError
from src_core.setting_kinds import limits_of, metadata_of
from src_eval.config import EvalConfig
from src_infer.config import InferConfig
from src_infer.run import prepare

ROOT = Path(__file__).resolve().parent.parent
NEEDS_TORCH = ("src_train.",)
NO_RANGE = {
    ("PublishedRow", "values"),  # published figures, in the unit of their table
    ("RoleSettings", "threshold"),  # of a difference of log-probabilities, of either sign
    ("Settings", "threshold"),  # the same, of the method
}


def config_classes() -> list[Any]:
    found: dict[str, Any] = {}
    for room in sorted(path.name for path in ROOT.glob("src_*") if path.is_dir()):
        package = importlib.import_module(room)
        for info in pkgutil.walk_packages(package.__path__, f"{room}."):
            if info.name.startswith(NEEDS_TORCH) and info.name != "src_train.config":
                continue
            if info.name.endswith("__main__"):
                continue
            try:
                module = importlib.import_module(info.name)
            except ImportError:  # a module of an optional package
                continue
            for value in vars(module).values():
                if isinstance(value, type) and hasattr(value, "__pydantic_config__"):
                    found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


def holds_number(hint: Any) -> bool:
    if hint in (int, float):
        return True
    return any(holds_number(inner) for inner in typing.get_args(hint) if not dataclasses.is_dataclass(inner))


def test_every_number_of_every_config_class_has_a_range() -> None:
    classes = config_classes()
    assert len(classes) > 45
    bare = []
    for each in classes:
        hints = typing.get_type_hints(each, include_extras=True)
        for field in dataclasses.fields(each):
            hint = hints[field.name]
            limits = [limits_of(part) for part in metadata_of(hint)]
            lower = any("ge" in found or "gt" in found for found in limits)
            if holds_number(hint) and not lower and (each.__name__, field.name) not in NO_RANGE:
                bare.append(f"{each.__module__}.{each.__name__}.{field.name}")
    assert bare == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("top_k=0", "setting 'top_k' is wrong: it must be at least 1 (got 0)"),
        ("top_k=-3", "at least 1 (got -3)"),
        ("limits.t_max=-1", "setting 'limits.t_max' is wrong: it must be at least 1"),
        ("limits.step_tries=0", "at least 1"),
        ("limits.max_tokens=-1", "at least 0"),
        ("max_passage_chars=-5", "at least 1"),
        ("prompt_tokens=-1", "at least 1"),
        ("agent.timeout=-1", "above 0"),
        ("agent.retry.attempts=0", "setting 'agent.retry.attempts' is wrong: it must be at least 1"),
        ("agent_sampling.max_tokens=-5", "at least 1"),
        ("agent_sampling.top_p=7", "above 0 and at most 1 (got 7)"),
        ("agent_sampling.top_p=0", "above 0 and at most 1"),
        ("agent_sampling.temperature=-0.1", "at least 0"),
        ("agent_sampling.temperature=.nan", "at least 0 and at most 100 (got nan)"),
        ("agent.timeout=.inf", "above 0 (got inf)"),
        ("agent_sampling.seed=-1", "at least 0"),
        ("n_questions=-7", "at least -1 (got -7)"),
        ("in_flight=99999999", "at least 1 and at most 4,096 (got 99999999)"),
        ("in_flight=0", "at least 1"),
    ],
)
def test_a_number_outside_its_range_is_refused_with_the_range(given: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        prepare(load_config(InferConfig, ROOT / "configs/infer/gpu.yaml", [given]))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{name: mine, method: m.py}", "unknown setting methods.0.name in .*; known here: label, method"),
        ("{label: mine}", r"setting 'methods.0.method' is wrong: Field required"),
    ],
)
def test_a_wrong_key_in_a_list_of_names_or_sections_is_named(given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_config(EvalConfig, ROOT / "configs/eval/smoke.yaml", [f"methods=[{given}, naive_rag]"])


def test_the_range_of_a_number_in_a_list_of_sections_is_named() -> None:
    with pytest.raises(UserError, match=r"'datasets.0.n' is wrong: it must be at least -1 \(got -2\)"):
        load_config(EvalConfig, ROOT / "configs/eval/smoke.yaml", ["datasets=[{name: a, path: b, n: -2}]"])
