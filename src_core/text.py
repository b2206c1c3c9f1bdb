"""Text of prompts and errors: filling slots, cutting at a word, the nearest of known names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from src_core.errors import UserError

_SLOT = re.compile(
    r"\{\{(?P<doubled>[A-Za-z_]\w*)\}\}|(?P<command>\\[A-Za-z]+)?\{(?P<name>[A-Za-z_]\w*)\}", re.ASCII
)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


class PromptError(UserError):
    """A prompt (`template`) whose `{slots}` are not the values that it is given."""

    def __init__(self, message: str, *, template: str = "") -> None:
        super().__init__(message)
        self.template = template


def fill(template: str, **slots: str) -> str:
    """Replace each `{name}` by its value in one pass, so that slots inside a value are not replaced. Braces
    around anything but a name are text, as in JSON, and so are those of a command (`\\boxed{Norway}`);
    `{{name}}` writes `{name}`. Raises `PromptError` for a name without a value and a value without a place.
    """
    text, used = _filled(template, slots)
    if unused := [name for name in slots if name not in used]:
        raise _mismatch(template, (), unused)
    return text


def fill_some(template: str, **slots: str) -> str:
    """`fill` for values that a template may leave out."""
    return _filled(template, slots)[0]


def slots_in(template: str) -> list[str]:
    """The names in braces of a template, each once."""
    found = (match["name"] for match in _SLOT.finditer(template) if not match["command"])
    return list(dict.fromkeys(name for name in found if name))


def shorten(text: str, max_chars: int) -> str:
    """`text` on one line, cut at the last word that fits into `max_chars` characters, with a trailing
    ellipsis.
    """
    plain = " ".join(text.split())
    if len(plain) <= max_chars:
        return plain
    return plain[: max(max_chars - 2, 0)].rsplit(" ", 1)[0] + " …"


def did_you_mean(name: str, known: Iterable[str], *, before: str = "") -> str:
    """`did you mean X? ` for the known name that is nearest to `name`, written after `before`; "" where none
    is near. Of a short name half of the letters have to agree, of others three in five.
    """
    near = nearest(name, known, cutoff=0.5 if len(name) <= 3 else 0.6)
    return f"did you mean {before}{near}? " if near else ""


def nearest(name: str, known: Iterable[str], *, cutoff: float) -> str:
    """The known name that is nearest to `name`, "" where none has a similarity (0 to 1) of `cutoff`."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else ""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 passage`, `2 passages`: a number with its noun, whose plural has an s unless it is given."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def without_login(text: str) -> str:
    """`text` with the logins of its URLs left out (`http://me:secret@host` is `http://host`)."""
    return _LOGIN.sub("", text)


def whole_text(text: str) -> str:
    """`text` with each half of a character replaced by U+FFFD: no file, terminal or tokenizer takes one."""
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


def _filled(template: str, slots: Mapping[str, str]) -> tuple[str, set[str]]:
    """The text, and the names whose values are in it."""
    used: set[str] = set()
    unknown: list[str] = []

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "{" + match["doubled"] + "}"
        if name in slots:
            used.add(name)
            return (match["command"] or "") + slots[name]
        if not match["command"]:
            unknown.append(name)
        return match[0]

    text = _SLOT.sub(value, template)
    if unknown:
        raise _mismatch(template, unknown, [name for name in slots if name not in used])
    return text, used


def _mismatch(template: str, unknown: Sequence[str], unused: Sequence[str]) -> PromptError:
    slots = [f"{{{name}}}" for name in dict.fromkeys(unknown)]
    parts, advice = [], []
    if slots:
        parts.append(f"no value is given for {', '.join(slots)}")
        advice.append(f"give each slot its value, and write {{{slots[0]}}} where the braces are text")
    if unused:
        named = ", ".join(f"{name}=…" for name in unused)
        parts.append(f"{named} {'is' if len(unused) == 1 else 'are'} given, but no slot has that name")
    if unused and not slots:
        advice.append(f"leave it out, or write {{{unused[0]}}} into the prompt")
    hints = (did_you_mean(f"{{{name}}}", slots) for name in unused)
    hint = next(filter(None, hints), "")
    return PromptError(
        f"the prompt '{shorten(template, 60)}': {'; '.join(parts)}; {hint}{', '.join(advice)}",
        template=template,
    )
