"""The configuration of the page: that of a run (`configs/infer/*.yaml`), and how it is served."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from src_core.config import Port, config_class
from src_core.http_server import HttpOptions
from src_infer.config import InferConfig


@config_class
class Serving(HttpOptions):
    """Bounds of what visitors may ask for (see `HttpOptions` for those of all our servers).

    `max_runs` questions are answered at once, each for at most `run_seconds`. A visitor may choose up to
    `max_top_k` passages and `max_steps` steps. `start_with` is the one command that starts every server of
    the profile; empty: each has its own script under `deploy/`.
    """

    max_runs: Annotated[int, Field(ge=1)] = 4
    max_question_chars: Annotated[int, Field(ge=1)] = 2_000
    max_body_bytes: Annotated[int, Field(ge=1)] = 16_384
    max_top_k: Annotated[int, Field(ge=1)] = 20
    max_steps: Annotated[int, Field(ge=1)] = 30
    run_seconds: Annotated[float, Field(gt=0)] = 900.0
    probe_seconds: Annotated[float, Field(gt=0)] = 3.0
    start_with: str = ""


@config_class
class DemoConfig(InferConfig):
    """What to run (see `InferConfig`) and where to serve it. `method`, `top_k` and `limits.t_max` are what
    the page offers first; its examples come from `questions`.
    """

    host: str = "127.0.0.1"
    port: Port = 9895
    serving: Serving = Serving()
