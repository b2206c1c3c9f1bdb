"""ONNX Runtime on a CPU.

Spinning of its threads is off: on a machine that also runs a language model, spinning threads take the cores
that other processes need, and a stage waits between batches anyway.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src_core.errors import UserError
from src_models.machine import ONNX_SUMS, physical_cores


def open_session(path: Path, threads: int) -> Any:
    """A session over the model at `path`; `threads` 0 means all physical cores. Raises `UserError` for a file
    that is not a model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry(*ONNX_SUMS)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a usable ONNX model ({reason}); fetch the model again") from error
