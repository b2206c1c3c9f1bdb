"""The prefixes, pooling and normalisation of an encoder.

Sources, in this order: `encoder.json` in the model folder (written when this project converts a model), then
the setting `family:` (see `src_models.families`) together with the folder's own sentence-transformers files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.json_file import read_object, whole_number
from src_models.families import FAMILIES

ADVICE = "fetch the model again"


class Pooling(StrEnum):
    """The pooling of token vectors to one vector."""

    MEAN = "mean"
    CLS = "cls"


@dataclasses.dataclass(frozen=True, slots=True)
class EncoderSpec:
    """The usage of an encoder. `max_length` is in tokens and bounds passages; queries have a separate
    setting.
    """

    family: str
    dim: Annotated[int, Field(ge=1, le=1 << 16)]
    pooling: Pooling
    normalize: bool
    query_prefix: str
    passage_prefix: str
    max_length: Annotated[int, Field(ge=1, le=1 << 20)]


@dataclasses.dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The record, in an index, of the encoder that computed its vectors; a server compares it before it
    serves.
    """

    name: str
    family: str
    dim: int
    precision: str
    sha256: str


def read_spec(folder: Path, *, family: str) -> EncoderSpec:
    """The spec of the model in `folder`. Raises `UserError` when the family is unknown."""
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
    path = folder / "config.json"
    config = _json(path)
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
    found = _json(folder / "config_sentence_transformers.json").get("prompts")
    prompts = found if isinstance(found, dict) else {}
    mode = Pooling(defaults.pooling)
    if pooling:
        mode = Pooling.CLS if pooling.get("pooling_mode_cls_token") else Pooling.MEAN
    return EncoderSpec(
        family=family,
        dim=whole_number(config, "hidden_size", path=path, advice=ADVICE),
        pooling=mode,
        normalize=True,
        query_prefix=str(prompts.get("query", defaults.query_prefix)),
        passage_prefix=str(prompts.get("passage", defaults.passage_prefix)),
        max_length=min(
            512, whole_number(config, "max_position_embeddings", path=path, advice=ADVICE, default=512)
        ),
    )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} when the file is absent."""
    if not path.is_file():
        return {}
    return read_object(path, advice=ADVICE)
