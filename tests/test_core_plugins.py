"""Files of the user's as plugins: what is wrong with one is a sentence that names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.errors import UserError
from src_core.protocols import load_protocol

BROKEN = {
    "import nothing_of_this_name\n": r"broken\.py, line 1: the format cannot be loaded \(ModuleNotFoundError",
    "x = 1\nraise OSError('no disk')\n": r"broken\.py, line 2: .*OSError: no disk",
    "def (\n": r"broken\.py: the format cannot be loaded \(SyntaxError: .*line 1",
    "x = 1\n": "has no FORMAT",
    "from src_core.protocols.rearag import ReaRag\nFORMAT = ReaRag\n": "a `name` that no other format has",
    "from src_core.protocols.base import Protocol\nFORMAT = Protocol\n": "a `name` that no other format has",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(UserError, match=BROKEN[text]):
        load_protocol(str(file))
