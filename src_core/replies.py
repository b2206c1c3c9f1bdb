"""The replies of OpenAI-compatible servers, in all shapes that servers and gateways send.

A reply's text is its `content`: a string, or a list of parts whose texts are joined. Thinking is kept apart,
whether it comes as a part, as a field (`reasoning_content`, `reasoning`, `thinking`) or, later, as a think
block in the text. A call that the server's tool parser cut out of the model's text is put back as text where
it names one of our actions, because that is what the model wrote; any other call is an error, because our
requests offer no tools. Gateways that answer in the shape of Anthropic, Gemini, Ollama or the Responses API
are understood. Never is a structure shown as if it were the model's words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from src_core.llm import Token
from src_core.protocols.records import FUNCTIONS
from src_core.text import whole_text
from src_core.types import Usage
from src_core.wire_json import ReplyError, words_in

Json = dict[str, Any]
_TEXT_PARTS = ("text", "output_text", "refusal", "message", "")
_THINKING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_THINKING_PARTS = ("thinking", "reasoning", "reasoning_text", "reasoning.text", "reasoning.summary")
_CALL_PARTS = ("tool_use", "tool_call", "function_call")
_REASONS = {
    "": "",
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"
    ),
    **dict.fromkeys(("length", "max_tokens", "max_length", "model_length", "max_output_tokens"), "length"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "blocklist"), "content_filter"),
    **dict.fromkeys(("tool_calls", "function_call", "tool_use"), "tool_calls"),
}
_PROMPT_COUNTS = (
    "prompt_tokens",
    "input_tokens",
    "promptTokenCount",
    "prompt_eval_count",
    "tokens_evaluated",
)
_REPLY_COUNTS = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "eval_count",
    "tokens_predicted",
)


class Reply(NamedTuple):
    """A reply as it was sent: `text` with any think block, `think` that came apart from it, `tokens` with
    their log-probabilities (empty where the server sends none), `model` as the server names itself.
    """

    text: str
    think: str
    finish_reason: str
    usage: Usage
    tokens: tuple[Token, ...] = ()
    model: str = ""


class _Found(NamedTuple):
    """What a content holds: its text, its thinking, its calls of tools, and the types of all other parts."""

    text: str = ""
    think: str = ""
    calls: tuple[Any, ...] = ()
    other: tuple[str, ...] = ()


def read_reply(payload: Any) -> Reply:
    """The reply in a parsed body. Raises `ReplyError` for one without a message, one that a filter withheld,
    and one that calls an unknown tool.
    """
    if not isinstance(payload, dict):
        raise ReplyError("the reply is not a JSON dict")
    choice = _choice(payload)
    message = _message(choice)
    found = _content(message)
    apart = _joined(_thinking(message.get(key)) for key in _THINKING) if isinstance(message, dict) else ""
    reason = _reason(choice, payload)
    text = _with_call(found)
    if not text.strip() and found.other:
        raise ReplyError(f"the reply holds no text, only {', '.join(dict.fromkeys(found.other))}")
    if not text.strip() and reason == "content_filter":
        raise ReplyError("the server's content filter withheld the reply", retryable=False)
    return Reply(
        text,
        found.think or apart,
        reason,
        read_usage(payload),
        _tokens(choice.get("logprobs")),
        payload["model"] if isinstance(payload.get("model"), str) else "",
    )


def read_usage(payload: Json) -> Usage:
    """The token counts of a reply as one call; 0 for what is missing or no number."""
    counts = payload.get("usage") or payload.get("usageMetadata") or payload
    found = counts if isinstance(counts, dict) else {}
    return Usage(1, _count(found, _PROMPT_COUNTS), _count(found, _REPLY_COUNTS))


def _choice(payload: Json) -> Json:
    """The first choice of a reply, or the reply itself in the shapes that have no choices."""
    choices = payload.get("choices")
    if choices is None:
        choices = payload.get("candidates")
    if choices is None and isinstance(payload.get("output"), list):
        choices = [{"message": {"content": payload["output"]}}]
    if choices is None and ("content" in payload or "message" in payload):
        choices = [payload]
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not first:
        what = "no choices" if not choices else "an unreadable choice"
        raise ReplyError(f"the reply has {what}: {words_in(payload)}")
    if isinstance(first.get("error"), dict) or first.get("finish_reason") == "error":
        raise ReplyError(f"the server ended the reply with an error: {words_in(first.get('error') or first)}")
    return first


def _message(choice: Json) -> Json:
    """The message of a choice, as `{"content": …}` where the shape has none."""
    for key in ("message", "delta"):
        value = choice.get(key)
        if isinstance(value, dict):
            return value
        if isinstance(value, str):
            return {"content": value}
    if isinstance(choice.get("text"), str):
        return {"content": choice["text"]}
    if "content" in choice:
        return choice
    raise ReplyError(f"the reply has a choice without a message: {words_in(choice)}")


def _content(message: Json) -> _Found:
    content = message.get("content")
    if content is None:
        content = message.get("parts", message.get("text"))
    if not isinstance(content, str | list | dict | None):
        raise ReplyError(f"the content of the reply is {type(content).__name__}, not text")
    found = _parts(content)
    refusal = message.get("refusal")
    if not found.text and isinstance(refusal, str):
        found = found._replace(text=refusal)
    calls = message.get("tool_calls") or [message.get("function_call")]
    named = tuple(call for call in calls if call) if isinstance(calls, list) else ()
    return found._replace(calls=(*found.calls, *named))


def _parts(content: Any) -> _Found:
    """The parts of a content; nested contents are flattened."""
    if isinstance(content, str):
        return _Found(content)
    if isinstance(content, list):
        all_found = [_parts(part) for part in content]
        return _Found(
            "".join(found.text for found in all_found),
            _joined(found.think for found in all_found),
            tuple(call for found in all_found for call in found.calls),
            tuple(other for found in all_found for other in found.other),
        )
    return _part(content) if isinstance(content, dict) else _Found()


def _part(part: Json) -> _Found:
    kind = part.get("type") or ""
    if kind in _THINKING_PARTS or part.get("thought") is True:
        return _Found(think=_thinking(part))
    if kind in _CALL_PARTS or "functionCall" in part:
        return _Found(calls=(part.get("functionCall") or part,))
    if kind not in _TEXT_PARTS:
        return _Found(other=(str(kind)[:40],))
    for key in ("text", "refusal", "content", "parts"):
        value = part.get(key)
        if isinstance(value, dict):  # an annotated text: {"value": …}
            value = value.get("value", value)
        if value:
            return _parts(value)
    return _Found()


def _thinking(value: Any) -> str:
    """The text of a field or part that holds thinking, in any nesting."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _joined(map(_thinking, value))
    if isinstance(value, dict):
        keys = ("thinking", "text", "reasoning", "summary", "content")
        return next((text for key in keys if (text := _thinking(value.get(key)))), "")
    return ""


def _joined(texts: Iterable[str]) -> str:
    """Different texts, one per line: servers send the same thinking under two names."""
    return "\n".join(dict.fromkeys(text for text in texts if text))


def _with_call(found: _Found) -> str:
    """The text with the first call, where it is one of our actions, behind it: as the model wrote both before
    the server took the call out.
    """
    if not found.calls:
        return found.text
    call = found.calls[0]
    inner = call.get("function", call) if isinstance(call, dict) else {}
    inner = inner if isinstance(inner, dict) else call
    name = inner.get("name")
    arguments = inner.get("arguments", inner.get("input", inner.get("args")))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if isinstance(name, str) and name in FUNCTIONS and isinstance(arguments, dict):
        action = whole_text(json.dumps({"function": name, "parameters": arguments}, ensure_ascii=False))
        return f"{found.text}\nAction: \n```\n{action}\n```".lstrip()
    if found.text.strip():
        return found.text
    raise ReplyError(
        f"the reply is a call of the tool {name!r:.60}, which no request offered; "
        "start the server without its tool parser",
        retryable=False,
    )


def _reason(choice: Json, payload: Json) -> str:
    keys = ("finish_reason", "finishReason", "stop_reason", "done_reason")
    values = [holder.get(key) for holder in (choice, payload) for key in keys]
    given = next((value for value in values if isinstance(value, str) and value), "").lower()
    return _REASONS.get(given, given)


def _count(counts: Json, keys: tuple[str, ...]) -> int:
    """The count under the first of `keys` that has one, 0 for none."""
    for key in keys:
        value = counts.get(key)
        try:
            number = float(value) if isinstance(value, str | int | float) else 0.0
        except (ValueError, OverflowError):
            continue
        if 0 < number < math.inf:
            return int(number)
    return 0


def _tokens(found: Any) -> tuple[Token, ...]:
    """The tokens of a reply in the shape of chat (`content`) or of completions (lists); () where the reply
    has none.
    """
    try:
        if found.get("content"):
            rows = [(row["token"], row["logprob"], row.get("top_logprobs")) for row in found["content"]]
        else:
            texts, logprobs = found.get("tokens") or (), found.get("token_logprobs") or ()
            tops = found.get("top_logprobs") or [None] * len(texts)
            rows = list(zip(texts, logprobs, tops, strict=True))
        return tuple(Token(str(text), float(logprob), _likeliest(top)) for text, logprob, top in rows)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return ()


def _likeliest(top: Any) -> tuple[tuple[str, float], ...]:
    """The most likely tokens at a position: rows of `token` and `logprob`, or an object."""
    pairs = top.items() if isinstance(top, dict) else [(row["token"], row["logprob"]) for row in top or ()]
    return tuple((str(text), float(logprob)) for text, logprob in pairs)
