"""Which encoder a name means: the toy, ONNX on a CPU where the folder has it, else torch."""

from __future__ import annotations

from src_core.errors import UserError
from src_models.fetch import model_folder
from src_retrieval.encoders.base import Device, Encoder, EncoderOptions
from src_retrieval.encoders.onnx import OnnxEncoder
from src_retrieval.encoders.torch import TorchEncoder
from src_retrieval.encoders.toy import TOY, TOY_DIM, ToyEncoder


def load_encoder(name: str, options: EncoderOptions) -> Encoder:
    """The encoder `name`: `toy` or `toy:DIM`, a model folder, a hub name (`owner/name`), or a name of
    the model registry. Raises `UserError` with what to do when it cannot be had.
    """
    kind, _, dim = name.partition(":")
    if kind == TOY:
        if dim and not dim.isdecimal():
            raise UserError(f"cannot read the encoder {name!r}; write toy or toy:64")
        return ToyEncoder(int(dim or TOY_DIM))
    folder = model_folder(name, what="encoder")
    has_onnx = (folder / "model.onnx").is_file() or (folder / "model.int8.onnx").is_file()
    if has_onnx and options.device is not Device.CUDA:
        return OnnxEncoder(name, folder, options)
    return TorchEncoder(name, folder, options)
