"""Names that bug reports import to open a FAISS file (`../shared/cases/r13_faiss_idmap.py`). The project
itself uses `src_retrieval.vector.faiss_file`, `src_retrieval.vector.faiss_index` and `src_retrieval.results`.
"""

from __future__ import annotations

from src_retrieval.results import ranked
from src_retrieval.vector.faiss_file import open_faiss_file
from src_retrieval.vector.faiss_index import SearchOptions

__all__ = ["SearchOptions", "open_faiss_file", "ranked"]
