"""An action as text, both directions: one object (JSON or a Python-repr dict) with `function` and
`parameters`, or a call such as `search[…]`. Shared by the formats that write actions so.

The reading is tolerant and bounded: it names every mend in `fixes`, raises nothing and evaluates nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

from src_core.literal import LiteralError, read_object
from src_core.protocols.records import ParsedStep, ParseError, make_action
from src_core.types import Action, DirectAnswer, Search

NAMES = ("search", "finish")
_CALL = re.compile(r"^[\s`*_]*(search|finish)[ \t]*([(\[:])", re.IGNORECASE)
_CLOSERS = {"(": ")", "[": "]"}


def render_action(action: Action, *, legacy: bool = False) -> str:
    """The one-line object for an action: JSON, or the original's Python repr with `legacy`."""
    if isinstance(action, DirectAnswer):
        parameters = {"sub_question": action.sub_question, "answer": action.answer}
    elif isinstance(action, Search):
        parameters = {"query": action.query}
    else:
        parameters = {"answer": action.answer}
    plain = {"function": action.function, "parameters": parameters}
    return repr(plain) if legacy else json.dumps(plain, ensure_ascii=False)


def read_action(body: str, fixes: list[str]) -> Action | ParseError:
    """The action in the text after `Action n:`: an object with or without a fence, or `search(…)` /
    `search[…]`.
    """
    start = body.find("{")
    call = _CALL.match(body)
    if call and (start < 0 or call.start(1) < start):
        return _read_call(body, call, fixes)
    if start < 0:
        return ParseError("no_object", "the action holds no object with 'function' and 'parameters'")
    if "```" not in body[:start]:
        fixes.append("no_fence")
    try:
        value, notes = read_object(body[start:])
    except LiteralError as error:
        return ParseError("bad_object", f"the action object cannot be read: {error}")
    fixes.extend(notes)
    return _to_action(value, fixes)


def read_json_reply(text: str) -> ParsedStep | None:
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


def _read_call(body: str, call: re.Match[str], fixes: list[str]) -> Action | ParseError:
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
    fixes.append("call_style")
    return make_action(call[1].lower(), line)


def _to_action(value: dict[str, Any], fixes: list[str]) -> Action | ParseError:
    """Turn a parsed object into an action. `name`/`type`/`arguments` and flat objects are accepted and
    noted.
    """
    name = value.get("function", value.get("name", value.get("type")))
    if isinstance(name, dict):  # OpenAI style: {"function": {"name": …, "arguments": {…}}}
        value, name = name, name.get("name")
    if "function" not in value:
        fixes.append("other_key_for_function")
    if not isinstance(name, str) or name.strip().lower() not in NAMES:
        allowed = ", ".join(NAMES)
        return ParseError("unknown_function", f"the function must be one of {allowed}, not {name!r:.60}")
    name = name.strip().lower()
    parameters = value.get("parameters", value.get("arguments"))
    if not isinstance(parameters, dict):
        parameters = value
        fixes.append("flat_parameters")
    key = "query" if name == "search" else "answer"
    argument = parameters.get(key)
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        argument = str(argument)
        fixes.append("number_as_text")
    if not isinstance(argument, str):
        return ParseError("bad_argument", f"{name} needs the text parameter {key!r}")
    return make_action(name, argument)
