"""A toy method: the toy format with a prompt and a setting of its own."""

from __future__ import annotations

from src_core.config import config_class
from src_core.protocols import load_protocol
from src_core.protocols.records import PromptStyle
from src_core.types import Question, Trajectory
from src_infer.multi_step import agent_policy, answer_stepwise, passage_search
from src_infer.runtime import Runtime

PROMPT = "Solve it in {steps} lines.\nPuzzle: {question}"


@config_class
class Settings:
    """`steps` is how many lines the prompt asks for."""

    steps: int = 5


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One episode; the answer is what the model says."""
    settings: Settings = runtime.settings
    style = PromptStyle(user_template=PROMPT.replace("{steps}", str(settings.steps)))
    writer = agent_policy(runtime, load_protocol("toy", style))
    return await answer_stepwise(question, runtime, writer=writer, search=passage_search(runtime))
