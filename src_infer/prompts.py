"""Prompts are text files under `configs/prompts/`; slots are filled by `src_core.text.fill`, in one pass, so
that braces in hostile text have no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from src_core.errors import UserError
from src_core.text import did_you_mean
from src_core.types import Search, Step

PROMPTS = Path("configs/prompts")


def _known(names: str) -> str:
    """The names of a setting, each of which has to be a prompt. Outside the repository, where an import makes
    defaults, nothing is known of them.
    """
    known = names and PROMPTS.is_dir()
    if known and (problem := next(filter(None, map(_problem, names.split("+"))), "")):
        raise ValueError(problem)
    return names


PromptNames = Annotated[str, AfterValidator(_known)]
"""A setting that names a prompt, or several (`a+b`; "": none)."""
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
    if problem := _problem(name):
        raise UserError(problem)
    return _file(name).read_text(encoding="utf-8").rstrip("\n")


def _file(name: str) -> Path:
    return PROMPTS / f"{name}.txt"


def _problem(name: str) -> str:
    """Why there is no such prompt, with the nearest name; "" where it is there."""
    if _file(name).is_file():
        return ""
    known = sorted(str(file.relative_to(PROMPTS).with_suffix("")) for file in PROMPTS.rglob("*.txt"))
    return f"no prompt {name!r:.80} under {PROMPTS}; {did_you_mean(name, known)}there are: {', '.join(known)}"
