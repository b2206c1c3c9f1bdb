"""Every message that a person can meet: what is wrong, where, and what to do. `pytest -s` prints them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_docs import WORDS

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300
ERRORS = {
    "UserError",
    "SourceError",
    "ModelError",
    "ContextFullError",
    "RetrieverError",
    "RequestError",
    "ServerGoneError",
}
CLAUSES = ERRORS - {"UserError", "RequestError", "ServerGoneError"}
"""Reasons that a `UserError` or a row quotes; what to do is said there."""
CLASSES = re.compile(r"KeyError|TypeError|ValueError|NoneType|AttributeError|IndexError|Traceback|__name__")
HOUSE_WORDS = re.compile(
    r"\b(told|brought|stands?|stood|gave up|goes on|went on|said so|learnt|how long|thought but)\b|please|!",
    re.IGNORECASE,
)
VERBS = [
    "add",
    "allow",
    "ask",
    "build",
    "check",
    "choose",
    "close",
    "construct",
    "copy",
    "correct",
    "deploy",
    "do",
    "download",
    "enter",
    "exclude",
    "explore",
    "fetch",
    "find",
    "free",
    "give",
    "install",
    "keep",
    "leave",
    "lower",
    "make",
    "name",
    "open",
    "point",
    "pip",
    "put",
    "quote",
    "raise",
    "rebuild",
    "remove",
    "rename",
    "repair",
    "repeat",
    "replace",
    "report",
    "restart",
    "restore",
    "resume",
    "rewrite",
    "run",
    "see",
    "send",
    "serve",
    "set",
    "shorten",
    "spell",
    "split",
    "start",
    "stop",
    "take",
    "train",
    "try",
    "unpack",
    "unset",
    "use",
    "wait",
    "write",
    "upgrade",
    "usage",
    "bash",
    "python",
]
ADVICE = re.compile(
    rf"(?:^|[;:,] (?:or |then |to \w+ it, )?|\bor )(?:{'|'.join(VERBS)})\b"
    r"|\bmust (?:be|have|start|hold|end|not)\b"
    r"|\b(?:there are|known(?: here)?(?: are)?|supported are|one of):? "
    r"|writes? it(?: again)?\b"
    r"|\{(?:advice|ADVICE|hint|wants|change|refusal|_AGAIN|_ARCHIVE|what\[1\]|_ways_out[^}]*|_USAGE|USAGE)\}"
)


class Message(NamedTuple):
    """One message as it is written in the source, with `{name}` for each value."""

    kind: str
    place: str
    text: str


def rendered(node: ast.expr) -> str:
    """An f-string with its expressions as they are written; anything else in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(rendered, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return rendered(node.left) + rendered(node.right)
    value = node.value if isinstance(node, ast.FormattedValue) else node
    return f"{{{ast.unparse(value)}}}"


def messages_of(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if kind in ERRORS:
            yield Message(kind, f"{path.relative_to(ROOT)}:{node.lineno}", rendered(node.args[-1]))


def shell_messages(path: Path) -> Iterator[Message]:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.search(r'\bdie ((?:"(?:\$\([^)]*\)|[^"])*"\s*)+)', line)
        if found and "die()" not in line:
            words = re.sub(r'"\s+"', " ", found[1].strip())[1:-1]
            yield Message(
                "die", f"{path.relative_to(ROOT)}:{number}", re.sub(r"\$\{?(\w+)[^ ;,)']*", r"{\1}", words)
            )


MODULES = sorted(ROOT.glob("src_*/**/*.py"))
SHELL = sorted(path for room in (".", "deploy", "scripts") for path in (ROOT / room).glob("*.sh"))
MESSAGES = [message for path in MODULES for message in messages_of(path)]
MESSAGES += [message for path in SHELL for message in shell_messages(path)]
QUOTED = "{error}, with run_name="
"""The error of a server that died, which says what to do, with the name of the run."""
WRITTEN = [
    message
    for message in MESSAGES
    if not re.fullmatch(r"\{[^{}]*\}", message.text) and not message.text.startswith(QUOTED)
]


def test_there_are_messages() -> None:
    """Print them, so that a person can read them in one go."""
    for message in sorted(MESSAGES):
        print(f"{message.kind:15} {message.place:50} {message.text}")  # noqa: T201
    assert len(WRITTEN) > 300


@pytest.mark.parametrize("message", WRITTEN, ids=lambda message: f"{message.place}")
def test_a_message(message: Message) -> None:
    text = message.text
    values = re.sub(r"\{[^{}]*\}", "{}", text)
    assert len(values) <= LONGEST
    assert "\n" not in values, "one sentence on one line"
    assert not HOUSE_WORDS.search(values), HOUSE_WORDS.findall(values)
    assert not WORDS.search(values), WORDS.findall(values)
    if "the {what} cannot be loaded" not in text:  # there the error of the person's own Python file is quoted
        assert not CLASSES.search(text), "a Python name says nothing to a newcomer"
    assert not re.match(r"(?!Python|Chinese)[A-Z][a-z]", values), "begins after 'error: ', so in lower case"
    assert not values.rstrip().endswith("."), "no full stop: more may follow"
    if message.kind not in CLAUSES:
        assert ADVICE.search(text), "what is to be done?"
