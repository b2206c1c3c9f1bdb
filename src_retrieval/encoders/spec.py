"""What a model asks of its caller: prefixes, pooling, normalisation.

Sources, in this order: `encoder.json` in the model folder (written when this project converts a model),
then the setting `family:` (see `src_models.families`) together with the folder's own sentence-transformers
files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_models.families import FAMILIES


class Pooling(StrEnum):
    """How token vectors become one vector."""

    MEAN = "mean"
    CLS = "cls"


@dataclasses.dataclass(frozen=True, slots=True)
class EncoderSpec:
    """How to use an encoder. `max_length` is in tokens and bounds passages; queries have a setting of
    their own.
    """

    family: str
    dim: int
    pooling: Pooling
    normalize: bool
    query_prefix: str
    passage_prefix: str
    max_length: int


@dataclasses.dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What an index records about the encoder that made its vectors; a server compares it before it
    serves.
    """

    name: str
    family: str
    dim: int
    precision: str
    sha256: str


def read_spec(folder: Path, *, family: str) -> EncoderSpec:
    """The spec of the model in `folder`. Raises `UserError` when the family cannot be told."""
    own = folder / "encoder.json"
    if own.is_file():
        try:
            spec = TypeAdapter(EncoderSpec).validate_json(own.read_bytes())
        except ValidationError as error:
            problem = error.errors()[0]
            raise UserError(f"{own}: {problem['loc']}: {problem['msg']}; fetch the model again") from error
        if family and family != spec.family:
            raise UserError(
                f"{folder} is of family {spec.family}, the setting says {family}; remove the setting"
            )
        return spec
    return _spec_from_folder(folder, family)


def fingerprint(folder: Path, files: list[str]) -> str:
    """One sha256 over the named files of a model folder (names and contents; absent ones are left out)."""
    digest = hashlib.sha256()
    for name in sorted(files):
        path = folder / name
        if path.is_file():
            with path.open("rb") as handle:
                digest.update(f"{name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _spec_from_folder(folder: Path, family: str) -> EncoderSpec:
    """From `config.json` and the sentence-transformers files, with prefixes by family."""
    config = _json(folder / "config.json")
    if "hidden_size" not in config:
        raise UserError(
            f"{folder} holds neither encoder.json nor a model's config.json; point at an encoder folder"
        )
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(
            f"the family of the encoder in {folder} is not known; set the family to one of {known}"
        )
    defaults = FAMILIES[family]
    pooling = _json(folder / "1_Pooling" / "config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    mode = Pooling(defaults.pooling)
    if pooling:
        mode = Pooling.CLS if pooling.get("pooling_mode_cls_token") else Pooling.MEAN
    return EncoderSpec(
        family=family,
        dim=int(config["hidden_size"]),
        pooling=mode,
        normalize=True,
        query_prefix=str(prompts.get("query", defaults.query_prefix)),
        passage_prefix=str(prompts.get("passage", defaults.passage_prefix)),
        max_length=min(512, int(config.get("max_position_embeddings", 512))),
    )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} when the file is absent."""
    if not path.is_file():
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch the model again") from error
    return value if isinstance(value, dict) else {}
