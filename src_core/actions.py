"""Text <-> Action, both directions: what a step looks like, and the tolerant, bounded parser that reads it
back.

Format (ReaRAG, reference section 4): `Thought n: …`, `Action n: `, a fenced one-line object with `function`
and `parameters`. We write JSON; `legacy=True` writes the original's Python-repr dict. `parse_step` returns a
`ParsedStep` or a `ParseError` value and raises nothing; it evaluates nothing and reads at most `MAX_REPLY`
characters. Only the first step of a reply counts: whatever follows an `Observation` label or a second
`Thought` is invented by the model and dropped (noted in `repairs`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from src_core.literal import LiteralError, read_object
from src_core.types import Action, Finish, Search

MAX_REPLY = 20_000
MAX_ARGUMENT = 2_000
FUNCTIONS = ("search", "finish")

# Possessive: adjacent optional blanks would otherwise be tried in every split (cubic in a line of blanks).
_LABEL = re.compile(
    r"^[ \t]*+(?P<mark>[*_#>-]{1,4}+[ \t]*+)?(?P<kind>thought|action|observation)[ \t]*+(?P<n>\d{1,4})?+"
    r"[ \t]*+(?:[*_]{1,2}+[ \t]*+)?[:：](?(mark)[ \t]*+[*_]{0,2})",
    re.IGNORECASE | re.MULTILINE,
)
_CALL = re.compile(r"^[\s`*_]*(search|finish)[ \t]*([(\[:])", re.IGNORECASE)
_CLOSERS = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class ParsedStep:
    """The first step of a reply. `n` is the model's own number (None when it wrote none)."""

    n: int | None
    thought: str
    action: Action
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParseError:
    """Why a reply is not a step: a short reason from a closed set (`code`) and one sentence for people."""

    code: str
    message: str


def render_action(action: Action, *, legacy: bool = False) -> str:
    """The one-line object for an action: JSON, or the original's Python repr with `legacy`."""
    key, value = ("query", action.query) if isinstance(action, Search) else ("answer", action.answer)
    plain = {"function": action.function, "parameters": {key: value}}
    return repr(plain) if legacy else json.dumps(plain, ensure_ascii=False)


def render_step(n: int, thought: str, action: Action, *, legacy: bool = False) -> str:
    """One step as text, exactly as ReaRAG's data hold it (note the blank after `Action n:`; no final
    newline).
    """
    return f"Thought {n}: {thought}\nAction {n}: \n```\n{render_action(action, legacy=legacy)}\n```"


def parse_step(text: str) -> ParsedStep | ParseError:
    """Read the first step of a model reply. Never raises; every deviation that is mended is named in
    `repairs`.
    """
    repairs: list[str] = []
    if len(text) > MAX_REPLY:
        text = text[:MAX_REPLY]
        repairs.append("cut_long_reply")
    whole = _from_json_reply(text)
    if whole is not None:
        return whole
    labels = _first_step_labels(text, repairs)
    action_at = next((m for m in labels if m["kind"].lower() == "action"), None)
    if action_at is None:
        return ParseError("no_action", "the reply has no 'Action' label")
    before = [m for m in labels if m.start() < action_at.start()]
    thought_at = next((m for m in before if m["kind"].lower() == "thought"), None)
    thought = text[thought_at.end() if thought_at else 0 : action_at.start()].strip()
    if thought_at is None:
        repairs.append("no_thought_label")
    if action_at["n"] is None:
        repairs.append("no_step_number")
    end = next((m.start() for m in labels if m.start() > action_at.start()), len(text))
    action = _read_action(text[action_at.end() : end], repairs)
    if isinstance(action, ParseError):
        return action
    return ParsedStep(int(action_at["n"]) if action_at["n"] else None, thought, action, tuple(repairs))


def make_action(name: str, argument: str) -> Action | ParseError:
    """The action `name` with an argument on one line; an empty or over-long argument is an error value."""
    argument = " ".join(argument.split())
    if not argument:
        return ParseError("empty_argument", f"the argument of {name} is empty")
    if len(argument) > MAX_ARGUMENT:
        return ParseError("long_argument", f"the argument of {name} is longer than {MAX_ARGUMENT} characters")
    return Search(argument) if name == "search" else Finish(argument)


def _first_step_labels(text: str, repairs: list[str]) -> list[re.Match[str]]:
    """Labels up to and including the one that ends the first step."""
    labels: list[re.Match[str]] = []
    seen_action = False
    for match in _LABEL.finditer(text):
        kind = match["kind"].lower()
        labels.append(match)
        if seen_action or kind == "observation":
            repairs.append("dropped_text_after_step")
            break
        seen_action = kind == "action"
    return labels


def _from_json_reply(text: str) -> ParsedStep | None:
    """A reply that is one JSON object with thought, function and parameters (schema-constrained
    generation).
    """
    stripped = text.strip()
    if not stripped.startswith("{") or '"thought"' not in stripped:
        return None
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("thought"), str):
        return None
    action = _to_action(value, [])
    return None if isinstance(action, ParseError) else ParsedStep(None, value["thought"].strip(), action)


def _read_action(body: str, repairs: list[str]) -> Action | ParseError:
    """The action in the text after `Action n:`: an object with or without a fence, or `search(…)` /
    `search[…]`.
    """
    start = body.find("{")
    call = _CALL.match(body)
    if call and (start < 0 or call.start(1) < start):
        return _read_call(body, call, repairs)
    if start < 0:
        return ParseError("no_object", "the action holds no object with 'function' and 'parameters'")
    if "```" not in body[:start]:
        repairs.append("no_fence")
    try:
        value, notes = read_object(body[start:])
    except LiteralError as error:
        return ParseError("bad_object", f"the action object cannot be read: {error}")
    repairs.extend(notes)
    return _to_action(value, repairs)


def _read_call(body: str, call: re.Match[str], repairs: list[str]) -> Action | ParseError:
    """ReAct's `search[…]`, `search("…")` or `finish: …` on one line."""
    line = body[call.end() :].split("\n", 1)[0].strip().rstrip("`* ")
    closer = _CLOSERS.get(call[2], "")
    if closer:
        if not line.endswith(closer):
            return ParseError("bad_object", f"the call to {call[1].lower()} is not closed")
        line = line[: -len(closer)].strip()
    line = re.sub(r"^(query|answer)\s*[=:]\s*", "", line)
    if len(line) >= 2 and line[0] == line[-1] and line[0] in "\"'":
        line = line[1:-1]
    repairs.append("call_style")
    return make_action(call[1].lower(), line)


def _to_action(value: dict[str, Any], repairs: list[str]) -> Action | ParseError:
    """Turn a parsed object into an action. `name`/`type`/`arguments` and flat objects are accepted and
    noted.
    """
    name = value.get("function", value.get("name", value.get("type")))
    if isinstance(name, dict):  # OpenAI style: {"function": {"name": …, "arguments": {…}}}
        value, name = name, name.get("name")
    if "function" not in value:
        repairs.append("other_key_for_function")
    if not isinstance(name, str) or name.strip().lower() not in FUNCTIONS:
        allowed = ", ".join(FUNCTIONS)
        return ParseError("unknown_function", f"the function must be one of {allowed}, not {name!r:.60}")
    name = name.strip().lower()
    parameters = value.get("parameters", value.get("arguments"))
    if not isinstance(parameters, dict):
        parameters = value
        repairs.append("flat_parameters")
    key = "query" if name == "search" else "answer"
    argument = parameters.get(key)
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        argument = str(argument)
        repairs.append("number_as_text")
    if not isinstance(argument, str):
        return ParseError("bad_argument", f"{name} needs the text parameter {key!r}")
    return make_action(name, argument)
