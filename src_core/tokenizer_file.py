"""A `tokenizer.json` as the hub lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from src_core.errors import UserError

if TYPE_CHECKING:  # a package that most runs do not need
    from tokenizers import Tokenizer


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file. Raises `UserError` for one that is broken."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more special
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a usable tokenizer ({reason}); fetch the model again") from error
