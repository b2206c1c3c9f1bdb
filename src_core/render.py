"""The one renderer: a question and its steps become the conversation that is trained on, sent and parsed.

`conversation` gives the published schema (`content` / `reasoning`, reference section 6.5); `chat_messages`
turns that into chat messages for a model's template. Inference, data export and training all come through
here. How we differ from the original: its inference prompt (system turn, bare question) did not match its
data (no system turn, `Question: …\\n\\nReasoning process with function call:`); here both are the same
`PromptStyle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src_core.actions import render_step
from src_core.config import config_class
from src_core.llm import Message
from src_core.types import Step

ROLES = ("system", "user", "assistant", "observation")


@config_class
class PromptStyle:
    """How a conversation is put to a reasoning model.

    `system` is the system turn's text ("" sends none). `observation_role` is the chat role of observations:
    GLM-4 has a native `observation` role, other templates take `user`. Templates are filled with
    `str.replace`, never `format`, so that braces in a question are harmless.
    """

    system: str = ""
    user_template: str = "Question: {question}\n\nReasoning process with function call:"
    observation_role: str = "observation"
    observation_template: str = "{observation}"
    legacy_actions: bool = False


def conversation(style: PromptStyle, question: str, steps: Sequence[Step]) -> list[dict[str, str]]:
    """The turns in the published schema: user `content`, assistant `reasoning`, observation `content`."""
    turns = [{"role": "user", "content": style.user_template.replace("{question}", question)}]
    for step in steps:
        text = render_step(step.n, step.thought, step.action, legacy=style.legacy_actions)
        turns.append({"role": "assistant", "reasoning": text})
        if step.observation is not None:
            turns.append({"role": "observation", "content": step.observation})
    return turns


def chat_messages(style: PromptStyle, turns: Sequence[dict[str, Any]]) -> list[Message]:
    """Chat messages (`role`, `content`) for turns in the published schema, with the style's system turn in
    front unless they bring one of their own. Raises `ValueError` for a role that nobody knows.
    """
    system = "" if any(turn["role"] == "system" for turn in turns) else style.system
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    n = 0
    for turn in turns:
        role = turn["role"]
        if role == "assistant":
            n += 1
            messages.append({"role": role, "content": turn["reasoning"]})
        elif role == "observation":
            text = style.observation_template.replace("{n}", str(n)).replace("{observation}", turn["content"])
            messages.append({"role": style.observation_role, "content": text})
        elif role in ("user", "system"):
            messages.append({"role": role, "content": turn["content"]})
        else:
            raise ValueError(f"unknown role {role!r} of a turn; known are {', '.join(ROLES)}")
    return messages
