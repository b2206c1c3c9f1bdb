"""Trajectories in other notations, read into steps: ReAct text and Search-R1 tags.

ReAct: `Thought:` / `Action: search[…]` / `Observation:`, numbered or not, ended by `finish[…]` and perhaps a
note of the environment ("Episode finished, reward = True"). Search-R1: `<think>`, `<search>`,
`<information>`, `<answer>`. What cannot be read (`lookup[…]`, an action without a call) is a problem that is
named, with the steps before it, never a guess. Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from src_core.actions import ParseError, parse_step
from src_core.types import Action, Finish, Search, Step

Notation = Literal["react", "search_r1"]
MAX_CHARS = 200_000
# What every step of these notations has in common is no mend of this one.
_OWN_STYLE = frozenset({"call_style", "no_step_number", "no_fence"})
_LABEL = re.compile(
    r"^[ \t]*(?:[*_#]{1,3}[ \t]*)?(thought|action|observation)[ \t]*\d{0,4}[ \t]*:[ \t]*(?:[*_]{1,2}[ \t]*)?",
    re.IGNORECASE | re.MULTILINE,
)
_CALL = re.compile(r"\s*([A-Za-z_]\w{0,30})[ \t]*[\[(]")
_TAG = re.compile(r"<(think|search|information|answer)>(.*?)</\1>", re.DOTALL)
_OPENING = re.compile(r"<(?:think|search|information|answer)>")
_REWARD = re.compile(r"episode finished,?\s*reward\s*=\s*(true|false|\d{1,6}(?:\.\d{1,6})?)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)


class ReadChain(NamedTuple):
    """The steps that could be read; what stopped the reading ("" when nothing did); notes for provenance."""

    steps: tuple[Step, ...]
    problem: str
    notes: dict[str, Any]


class _Piece(NamedTuple):
    kind: str
    text: str


def read_chain(text: str, notation: Notation) -> ReadChain:
    """Read a whole trajectory."""
    if len(text) > MAX_CHARS:
        return ReadChain((), f"longer than {MAX_CHARS} characters", {})
    return _READERS[notation](text)


def detect_notation(text: str) -> Notation | None:
    """Which notation a text is in, None for neither."""
    if "<search>" in text or "<answer>" in text:
        return "search_r1"
    return "react" if any(match[1].lower() == "action" for match in _LABEL.finditer(text)) else None


def _read_react(text: str) -> ReadChain:
    return _assemble(_react_pieces(text), _react_action)


def _react_pieces(text: str) -> Iterator[_Piece]:
    labels = list(_LABEL.finditer(text))
    starts = [*(label.start() for label in labels), len(text)]
    for label, end in zip(labels, starts[1:], strict=True):
        yield _Piece(label[1].lower(), text[label.end() : end].strip())


def _react_action(body: str) -> Action | str:
    """The action of a step, or what is wrong with it."""
    call = _CALL.match(body)
    if call and call[1].lower() not in ("search", "finish"):
        return f"unknown action {call[1]}"
    parsed = parse_step(f"Thought: -\nAction: {body}")
    if isinstance(parsed, ParseError):
        return parsed.message
    unusual = set(parsed.repairs) - _OWN_STYLE
    return f"the action holds more than a call ({', '.join(sorted(unusual))})" if unusual else parsed.action


def _read_search_r1(text: str) -> ReadChain:
    return _assemble(_tag_pieces(text), _tag_action)


def _tag_pieces(text: str) -> Iterator[_Piece]:
    kinds = {"think": "thought", "information": "observation", "search": "action", "answer": "action"}
    at = 0
    for match in _TAG.finditer(text):
        between = _OPENING.sub(" ", text[at : match.start()]).strip()
        if between:  # words outside of any tag are part of what the model says
            yield _Piece("thought", between)
        yield _Piece(kinds[match[1]], match[0] if kinds[match[1]] == "action" else match[2].strip())
        at = match.end()
    rest = text[at:].strip()
    if rest:
        yield _Piece("thought", rest)


def _tag_action(body: str) -> Action | str:
    match = _TAG.fullmatch(body)
    assert match is not None  # the pieces are made so
    inner = match[2].strip()
    if match[1] == "answer":
        boxed = _BOXED.fullmatch(inner)
        inner = boxed[1] if boxed else inner
    argument = " ".join(inner.split())
    if not argument:
        return f"<{match[1]}> is empty"
    return Finish(argument) if match[1] == "answer" else Search(argument)


_READERS: dict[Notation, Callable[[str], ReadChain]] = {"react": _read_react, "search_r1": _read_search_r1}


def _assemble(pieces: Iterator[_Piece], action_of: Callable[[str], Action | str]) -> ReadChain:
    """Steps out of thoughts, actions and observations in order. Thoughts before one action are joined; what
    follows `finish` is dropped and noted.
    """
    steps: list[Step] = []
    thoughts: list[str] = []
    notes: dict[str, Any] = {}
    for kind, text in pieces:
        if steps and isinstance(steps[-1].action, Finish):
            notes.update(_after_finish(text))
        elif kind == "thought":
            thoughts.append(text)
        elif kind == "observation":
            if thoughts or not steps or steps[-1].observation is not None:
                where = f"after step {len(steps)}"
                return ReadChain(tuple(steps), f"an observation without a search {where}", notes)
            steps[-1] = replace(steps[-1], observation=text)
        else:
            action = action_of(text)
            if isinstance(action, str):
                return ReadChain(tuple(steps), f"step {len(steps) + 1}: {action}", notes)
            steps.append(Step(len(steps) + 1, " ".join(filter(None, thoughts)), action))
            thoughts = []
    if thoughts:
        notes["unfinished_thought"] = " ".join(thoughts)[:500]
    return ReadChain(tuple(steps), "" if steps else "no action found", notes)


def _after_finish(text: str) -> dict[str, Any]:
    """What an environment said after the end: its reward, or that something was dropped."""
    reward = _REWARD.search(text)
    if not reward:
        return {"dropped_after_finish": True} if text else {}
    value = reward[1].lower()
    return {"reward": value == "true" if value in ("true", "false") else float(value)}
