"""Constrained decoding: the step format as a GBNF grammar, or the step as a JSON schema.

`grammar` keeps the one step format of the project (thought free, action fixed to its JSON schema); llama.cpp
takes GBNF as it is, vLLM's structured outputs take the same text. `json_schema` is the portable form: the
reply is one JSON object that `parse_step` reads and the renderer turns back into the one step format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from src_core.actions import FUNCTIONS


class Constrain(StrEnum):
    """How a reply is constrained by the server while it is generated."""

    OFF = "off"
    GRAMMAR = "grammar"
    JSON_SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What to send: either a GBNF `grammar` or a `schema` (exactly one is set)."""

    grammar: str | None = None
    schema: dict[str, Any] | None = None


def step_constraint(kind: Constrain, *, n: int, functions: Sequence[str] = FUNCTIONS) -> Constraint | None:
    """The constraint for step `n` that allows only `functions`; None for `off`."""
    if kind is Constrain.GRAMMAR:
        return Constraint(grammar=step_grammar(n=n, functions=functions))
    if kind is Constrain.JSON_SCHEMA:
        return Constraint(schema=step_schema(functions=functions))
    return None


def step_grammar(*, n: int, functions: Sequence[str] = FUNCTIONS) -> str:
    """GBNF for exactly one step, as `actions.render_step` writes it. Thoughts are one paragraph of at most
    four sentences: an unbounded thought is how a small model loses itself.
    """
    calls = " | ".join(f"call-{name}" for name in functions)
    rules = [
        f'root ::= "Thought {n}: " thought "\\nAction {n}: \\n```\\n" ({calls}) "\\n```"',
        'thought ::= sentence (" " sentence)? (" " sentence)? (" " sentence)?',
        "sentence ::= [^ \\n.?!`{}] [^\\n.?!`{}]* [.?!]",
        'string ::= "\\"" char+ "\\""',
        'char ::= [^"\\\\\\x00-\\x1F] | "\\\\" ["\\\\/bfnrt]',
    ]
    for name in functions:
        key = "query" if name == "search" else "answer"
        head = f'{{\\"function\\": \\"{name}\\", \\"parameters\\": {{\\"{key}\\": '
        rules.append(f'call-{name} ::= "{head}" string "}}}}"')
    return "\n".join(rules)


def step_schema(*, functions: Sequence[str] = FUNCTIONS) -> dict[str, Any]:
    """JSON schema of one step: `{"thought", "function", "parameters"}` with one variant per allowed
    function.
    """
    variants = []
    for name in functions:
        key = "query" if name == "search" else "answer"
        text = {"type": "string", "minLength": 1, "maxLength": 300}
        variants.append(
            {
                "type": "object",
                "properties": {
                    "thought": {"type": "string", "minLength": 1, "maxLength": 400},
                    "function": {"const": name},
                    "parameters": {
                        "type": "object",
                        "properties": {key: text},
                        "required": [key],
                        "additionalProperties": False,
                    },
                },
                "required": ["thought", "function", "parameters"],
                "additionalProperties": False,
            }
        )
    return {"oneOf": variants} if len(variants) > 1 else variants[0]
