"""ReaRAG's format (reference rearag.md section 4): `Thought n: …`, `Action n: `, a fenced one-line object
with `function` and `parameters`; each observation is a separate turn.

We write JSON; `legacy_actions` writes the original's Python-repr dict. Only the first step of a reply is
used: text after an `Observation` label or a second `Thought` is invented by the model and is dropped
(recorded in `parse_fixes`). `grammar` constrains decoding to this format (the thought is free, the action
follows its schema; llama.cpp and vLLM's structured outputs both take the GBNF text); with `json_schema` the
reply is one JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from src_core.protocols.action_text import NAMES, read_action, read_json_reply, render_action
from src_core.protocols.base import Protocol
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_REPLY,
    TURN_MARKS,
    Constrain,
    Constraint,
    ParsedStep,
    ParseError,
    PromptStyle,
)
from src_core.types import Action, Step

# Possessive quantifiers: otherwise adjacent optional blanks are tried in every split (cubic time in a line of
# blanks).
_LABEL = re.compile(
    r"^[ \t]*+(?P<mark>[*_#>-]{1,4}+[ \t]*+)?(?P<kind>thought|action|observation)[ \t]*+(?P<n>\d{1,4})?+"
    r"[ \t]*+(?:[*_]{1,2}+[ \t]*+)?[:：](?(mark)[ \t]*+[*_]{0,2})",
    re.IGNORECASE | re.MULTILINE,
)


class ReaRag(Protocol):
    """See the module. `thinks`: replies begin with a think block, which may hold the word `Observation`; that
    word is then no stop string.
    """

    name: ClassVar[str] = "rearag"
    needs_thought: ClassVar[bool] = True
    user_template: ClassVar[str] = "Question: {question}\n\nReasoning process with function call:"

    def __init__(self, style: PromptStyle | None = None, *, thinks: bool = False) -> None:
        super().__init__(style)
        self.stops = TURN_MARKS if thinks else (*TURN_MARKS, "\nObservation")

    def render_step(self, step: Step) -> str:
        """One step, exactly as in ReaRAG's data."""
        return render_step(step.n, step.thought, step.action, legacy=self.style.legacy_actions)

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """The first step of a reply; a grammar, not the parser, enforces `functions`."""
        return parse_step(text)

    def step_problem(self, parsed: ParsedStep, number: int) -> str:
        """Steps are numbered from 1 and have a thought."""
        if parsed.n != number or not parsed.thought or "no_thought_label" in parsed.parse_fixes:
            return f"is not 'Thought {number}' with its action"
        return ""

    @property
    def supports(self) -> tuple[Constrain, ...]:
        """All kinds."""
        return (Constrain.OFF, Constrain.GRAMMAR, Constrain.JSON_SCHEMA)

    def constraint(
        self, kind: Constrain, *, n: int, functions: Sequence[str] = FUNCTIONS
    ) -> Constraint | None:
        """The constraint for step `n` that allows only `functions`; None for `off`."""
        allowed = [name for name in self.functions if name in functions]
        if kind is Constrain.GRAMMAR:
            return Constraint(grammar=step_grammar(n=n, functions=allowed))
        if kind is Constrain.JSON_SCHEMA:
            return Constraint(schema=step_schema(functions=allowed))
        return None


FORMAT = ReaRag


def render_step(n: int, thought: str, action: Action, *, legacy: bool = False) -> str:
    """One step as text (with a blank after `Action n:` and no final newline)."""
    return f"Thought {n}: {thought}\nAction {n}: \n```\n{render_action(action, legacy=legacy)}\n```"


def parse_step(text: str) -> ParsedStep | ParseError:
    """Parse the first step of a model reply. Raises nothing; every repaired deviation is recorded in
    `parse_fixes`.
    """
    fixes: list[str] = []
    if len(text) > MAX_REPLY:
        text = text[:MAX_REPLY]
        fixes.append("cut_long_reply")
    whole = read_json_reply(text)
    if whole is not None:
        return whole
    labels = _first_step_labels(text, fixes)
    action_at = next((m for m in labels if m["kind"].lower() == "action"), None)
    if action_at is None:
        return ParseError("no_action", "the reply has no 'Action' label")
    before = [m for m in labels if m.start() < action_at.start()]
    thought_at = next((m for m in before if m["kind"].lower() == "thought"), None)
    thought = text[thought_at.end() if thought_at else 0 : action_at.start()].strip()
    if thought_at is None:
        fixes.append("no_thought_label")
    if action_at["n"] is None:
        fixes.append("no_step_number")
    end = next((m.start() for m in labels if m.start() > action_at.start()), len(text))
    action = read_action(text[action_at.end() : end], fixes)
    if isinstance(action, ParseError):
        return action
    return ParsedStep(int(action_at["n"]) if action_at["n"] else None, thought, action, tuple(fixes))


def step_grammar(*, n: int, functions: Sequence[str] = NAMES) -> str:
    """GBNF for exactly one step, as `render_step` writes it. A thought is one paragraph of at most four
    sentences: without a bound, small models write thoughts that do not end.
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


def step_schema(*, functions: Sequence[str] = NAMES) -> dict[str, Any]:
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


def _first_step_labels(text: str, fixes: list[str]) -> list[re.Match[str]]:
    """Labels up to and including the one that ends the first step."""
    labels: list[re.Match[str]] = []
    seen_action = False
    for match in _LABEL.finditer(text):
        kind = match["kind"].lower()
        labels.append(match)
        if seen_action or kind == "observation":
            fixes.append("dropped_text_after_step")
            break
        seen_action = kind == "action"
    return labels
