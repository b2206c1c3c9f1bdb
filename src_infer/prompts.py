"""Prompts are text files under `configs/prompts/`; slots are filled by `src_core.text.fill`, in one pass, so
that braces in hostile text have no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from src_core.errors import UserError
from src_core.text import did_you_mean
from src_core.types import Search, Step

PROMPTS = Path("configs/prompts")
NO_SEARCH = "(no search was made)"


def load_prompt(names: str) -> str:
    """The text of one prompt file, or of several joined ones (`a+b`), without the trailing newline."""
    return "\n".join(_read(name) for name in names.split("+")) if names else ""


def prompts_digest() -> str:
    """Hash of all prompt files: a run is not resumed with edited prompts."""
    digest = hashlib.sha256()
    for path in sorted(PROMPTS.glob("*.txt")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]


def pinned_digest(wanted: str) -> str:
    """The digest of the current prompt files. Raises `UserError` where `wanted` differs from it ("" accepts
    any).
    """
    digest = prompts_digest()
    if wanted not in ("", digest):
        raise UserError(
            f"the prompts have changed: their digest is {digest}, the configuration wants {wanted}; "
            "restore configs/prompts or leave prompts_digest empty"
        )
    return digest


def searches_block(steps: Sequence[Step]) -> str:
    """The searches of an episode for the final answer: `Search query: …` / `Search result: …` blocks."""
    return "\n\n".join(search_blocks(steps)) or NO_SEARCH


def search_blocks(steps: Sequence[Step]) -> list[str]:
    """The blocks of `searches_block`, one per search."""
    return [
        f"Search query: {step.action.query}\nSearch result: {step.observation}"
        for step in steps
        if isinstance(step.action, Search) and not step.repeated
    ]


def _read(name: str) -> str:
    path = PROMPTS / f"{name}.txt"
    if not path.is_file():
        known = sorted(file.stem for file in PROMPTS.glob("*.txt"))
        raise UserError(
            f"no prompt {name!r} under {PROMPTS}; {did_you_mean(name, known)}there are: {', '.join(known)}"
        )
    return path.read_text(encoding="utf-8").rstrip("\n")
