"""Read the first object literal in hostile text: JSON or Python-dict style, either quote, apostrophes inside.

A small recursive-descent reader instead of `ast.literal_eval`: that one cannot mend an unescaped apostrophe
(the fault the original's own worked example teaches, reference section 4), and can exhaust the stack. Ours is
linear in the text, bounded in depth, and evaluates nothing.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

MAX_DEPTH = 6
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[-+.\w]+")
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_HEX = {name: re.compile(f"[0-9a-fA-F]{{{width}}}") for name, width in (("x", 2), ("u", 4), ("U", 8))}
_PAIR = re.compile("[\\ud800-\\udbff][\\udc00-\\udfff]")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?$")


class LiteralError(ValueError):
    """The text is not an object literal; the message says where reading stopped."""


class ReadObject(NamedTuple):
    """The object and the names of the parse_fixes that were needed to read it."""

    value: dict[str, Any]
    parse_fixes: tuple[str, ...]


def read_object(text: str) -> ReadObject:
    """Read the object that starts at `text[0] == "{"`; text after it is ignored. Raises `LiteralError`
    only.
    """
    reader = _Reader(text)
    value = reader.object(0)
    return ReadObject(value, tuple(dict.fromkeys(reader.parse_fixes)))


class _Reader:
    """Cursor over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.parse_fixes: list[str] = []

    def object(self, depth: int) -> dict[str, Any]:
        """A `{key: value, …}`; a missing last brace at the end of the text (or before a fence) is mended."""
        self._expect("{")
        found: dict[str, Any] = {}
        while True:
            self._skip()
            if self._take("}"):
                return found
            if self._ended():
                self.parse_fixes.append("closed_brace")
                return found
            key = self._string() if self._peek() in ("'", '"') else self._word()
            self._skip()
            self._expect(":")
            found[str(key)] = self._value(depth)
            self._skip()
            if not self._take(",") and self._peek() != "}" and not self._ended():
                raise LiteralError(f"expected ',' or '}}' at character {self.at}")

    def _value(self, depth: int) -> Any:
        self._skip()
        head = self._peek()
        if head == "{":
            if depth >= MAX_DEPTH:
                raise LiteralError("nested too deeply")
            return self.object(depth + 1)
        if head in ("'", '"'):
            return self._string()
        return self._word()

    def _string(self) -> str:
        quote = self.text[self.at]
        if quote == "'":
            self.parse_fixes.append("single_quotes")
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == "\\":
                out.append(self._escape())
            elif char != quote:
                out.append(char)
            elif self._closes():
                return _PAIR.sub(_join_pair, "".join(out))
            else:
                out.append(char)
                self.parse_fixes.append("inner_quote")
        raise LiteralError("a string is not closed")

    def _closes(self) -> bool:
        """A quote ends its string only when what follows can follow a string; else it is an apostrophe
        inside.
        """
        rest = _SPACE.match(self.text, self.at)
        after = rest.end() if rest else self.at
        return after >= len(self.text) or self.text[after] in ",:}]`"

    def _escape(self) -> str:
        if self.at >= len(self.text):
            raise LiteralError("a string ends in a backslash")
        char = self.text[self.at]
        self.at += 1
        if char in _HEX:
            digits = _HEX[char].match(self.text, self.at)
            if digits is None or int(digits.group(), 16) > sys.maxunicode:
                return char
            self.at = digits.end()
            return chr(int(digits.group(), 16))
        return _ESCAPES.get(char, char)

    def _word(self) -> Any:
        match = _WORD.match(self.text, self.at)
        if not match:
            raise LiteralError(f"expected a value at character {self.at}")
        self.at = match.end()
        word = match.group()
        if word in _WORDS:
            return _WORDS[word]
        if _NUMBER.match(word):
            return float(word) if "." in word else int(word)
        raise LiteralError(f"unquoted text {word[:20]!r}")

    def _ended(self) -> bool:
        return self.at >= len(self.text) or self.text.startswith("```", self.at)

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _take(self, char: str) -> bool:
        if self._peek() == char:
            self.at += 1
            return True
        return False

    def _expect(self, char: str) -> None:
        if not self._take(char):
            raise LiteralError(f"expected {char!r} at character {self.at}")


def _join_pair(pair: re.Match[str]) -> str:
    """The one character that JSON writes as two escapes outside the basic plane."""
    return pair.group().encode("utf-16", "surrogatepass").decode("utf-16")
