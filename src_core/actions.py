"""The name under which bug reports import the rendering of a step (`../shared/cases/breaks/fake_llm.py`). The
project itself uses `src_core.protocols.rearag`.
"""

from __future__ import annotations

from src_core.protocols.rearag import render_step

__all__ = ["render_step"]
