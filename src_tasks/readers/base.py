"""Shared by the readers: the error of a bad row, answers as texts, passages with content-hash ids."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from src_core.text import nearest
from src_core.types import Passage, Question, question_id, title_of
from src_tasks.readers.rows import SourceRow, SubQuestion, group_of_meta

# A list as Python (or numpy, without commas) prints it: ['a', "b's", 2, None]; a tuple or a set that begins
# with a text.
_TEXT = r"""(?:'((?:[^'\\]|\\.)*+)'|"((?:[^"\\]|\\.)*+)")"""
_ITEM = rf"(?:{_TEXT}|(None|True|False|nan|-?\d++(?:\.\d*+)?(?:e[+-]?\d++)?))(?=[\s,\])}}])"
_NEXT = r"\s*+(?:,\s*+)?"
_ITEMS = re.compile(_ITEM, re.DOTALL)
_PRINTED_LIST = re.compile(
    rf"(?:array\()?(\[\s*+(?:{_ITEM}{_NEXT})*+\]|\((?={_TEXT}\s*,)(?:{_ITEM}{_NEXT})++\)"
    rf"|\{{(?:{_ITEM}{_NEXT})++\}})(?:,\s*dtype=[^()\[\]]*)?\)?",
    re.DOTALL,
)
_CONSTANTS = {"None": None, "True": True, "False": False, "nan": None}
# The start of a list of texts, lists or objects, and of an object with keys.
_LIKE_A_LIST = re.compile(r"""(?:array\()?\[\s*(?:[\[{]\s*)?['"]|\{\s*(?:'[^']*'|"[^"]*")\s*:""")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
# From here on a float is not every whole number; JSON's larger integers come as floats.
_EXACT = 1e15
JsonRow = dict[str, Any]


class RowError(ValueError):
    """A malformed row; the message is a clause without file name and row number, which the caller adds."""


def text_at(row: JsonRow, *keys: str) -> str:
    """The stripped text under the first of `keys` that is present. Raises `RowError` when it is missing, not
    a text, or blank.
    """
    value = next((row[key] for key in keys if row.get(key) is not None), None)
    if value is None:
        near = near_key(keys[0], row)
        raise RowError(f"no {keys[0]!r}" + (f" (is {near!r} meant to be {keys[0]!r}?)" if near else ""))
    if not isinstance(value, str):
        raise RowError(f"{keys[0]!r} must be text, found {type(value).__name__}")
    if not any(char.isalnum() for char in value):
        raise RowError(f"{keys[0]!r} holds no word")
    return value.strip()


def near_key(wanted: str, row: JsonRow) -> str:
    """The key of a row that is nearly `wanted` (`questoin`), "" for none."""
    return nearest(wanted, (str(key) for key in row if key != wanted), cutoff=0.8)


def optional_text(row: JsonRow, *keys: str) -> str:
    """The text or number under the first of `keys` that is present, as text; "" when there is none."""
    value = next((row[key] for key in keys if row.get(key) is not None), "")
    return value.strip() if isinstance(value, str) else scalar_text(value)


def scalar_text(value: Any) -> str:
    """A text, number or truth value as an answer is written (true is "yes"); None and NaN are "". Raises
    `RowError` for anything else.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and abs(value) >= _EXACT:
        raise RowError(f"the number {value} is too large to be read exactly; write it as text")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, str | int | float):
        raise RowError(f"an answer must be a text, a number or a truth value, found {type(value).__name__}")
    return str(value).strip()


def alias_texts(*values: Any) -> tuple[str, ...]:
    """The texts of `values`, each a scalar or a list of scalars, in order, without blanks and repetitions."""
    flat = (item for value in values for item in _flat(value))
    return tuple(dict.fromkeys(text for text in map(scalar_text, flat) if text))


def gold_texts(*values: Any) -> tuple[str, ...]:
    """`alias_texts` where a list may also be written as text, as JSON or as Python prints it (tables and some
    copies have such cells), and of a text that ends as GSM8K's do, the part after `####`.
    """
    items = [item for value in values for item in _flat(written_list(value))]
    return alias_texts(*(written_list(_final(item)) if isinstance(item, str) else [item] for item in items))


def _final(value: Any) -> Any:
    return value.rpartition("\n#### ")[2] if isinstance(value, str) else value


def _flat(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def written_list(value: Any) -> Any:
    """The list that a text is when it is one, as JSON or as Python prints it; else `value`. Raises `RowError`
    for a text that begins like a list and is none, as one that was cut.
    """
    if not isinstance(value, str) or not (text := value.strip()).startswith(("[", "(", "{", "array(")):
        return value
    items = None
    if text.startswith("["):
        with contextlib.suppress(orjson.JSONDecodeError):
            items = orjson.loads(text)
    if isinstance(items, list) and not any(isinstance(item, list | dict) for item in items):
        return items
    printed = _PRINTED_LIST.fullmatch(text)
    if printed is not None:
        return [_printed_item(item) for item in _ITEMS.finditer(printed[1])]
    if _LIKE_A_LIST.match(text):
        raise RowError(f"the text {text!r:.60} begins like a list of answers and is none; write a JSON list")
    return value


def _printed_item(item: re.Match[str]) -> Any:
    single, double, bare = item.groups()
    if bare is None:
        return _unescaped(double if single is None else single)
    return _CONSTANTS[bare] if bare in _CONSTANTS else float(bare) if "." in bare or "e" in bare else bare


def _unescaped(text: str) -> str:
    """A text as Python prints it, with its escapes replaced. Raises `RowError` for half a character."""
    plain = _ESCAPE.sub(_escaped_char, text)
    if not plain.isascii() and any("\ud800" <= char <= "\udfff" for char in plain):
        raise RowError("an answer holds half of a character (a lone surrogate)")
    return plain


def _escaped_char(match: re.Match[str]) -> str:
    code, char = match[1] or match[2] or match[3], match[4]
    if code is None:
        return {"n": "\n", "r": "\r", "t": "\t"}.get(char, char)
    number = int(code, 16)
    return chr(number) if number < 0x110000 else "\ufffd"


def json_cell(value: Any, what: str) -> Any:
    """`value`, parsed when it is JSON text (a cell of a table). Raises `RowError` for text that is not
    JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RowError(f"{what!r} is not valid JSON") from error


def records(value: Any, what: str) -> list[JsonRow]:
    """A list of objects; the hub's columns `{"a": [...], "b": [...]}` are turned into one. None is empty.
    Raises `RowError` for any other shape.
    """
    if value is None:
        return []
    if isinstance(value, dict):
        lengths = {len(column) if isinstance(column, list | tuple) else -1 for column in value.values()}
        if len(lengths) > 1 or -1 in lengths:
            raise RowError(f"the columns of {what!r} must be lists of one length")
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RowError(f"{what!r} must be a list of objects")
    return value


def clean_title(title: str) -> str:
    """A title in the form of a corpus: one line, without surrounding double quotes
    (`src_core.types.title_of`), so that titles of annotations and of retrieved passages can be compared.
    """
    return title_of(" ".join(title.split()) + "\n")


def make_passage(title: str, text: str) -> Passage | None:
    """A passage with the content hash of title and text as its id; white space is collapsed, so that the same
    paragraph of two releases is one passage. None where the text is blank.
    """
    body = " ".join(text.split())
    if not body:
        return None
    name = clean_title(title)
    contents = f"{name}\n{body}" if name else body
    digest = hashlib.sha256(contents.encode("utf-8", "surrogatepass")).hexdigest()
    return Passage(id=f"p{digest[:16]}", title=name, contents=contents)


def make_row(
    question: str,
    answers: Sequence[str],
    *,
    dataset: str,
    passages: Sequence[Passage | None] = (),
    supporting: Sequence[str] = (),
    choices: Sequence[str] = (),
    group: str = "",
    meta: JsonRow | None = None,
    answerable: bool = True,
) -> SourceRow:
    """The row that all readers return. Empty values of `meta` are left out; `group` is derived from `meta`
    where none is given.
    """
    kept: dict[str, Passage] = {passage.id: passage for passage in passages if passage is not None}
    values = {"dataset": dataset, **(meta or {})}
    values = {key: value for key, value in values.items() if value not in (None, "", [])}
    if not answerable:
        values["answerable"] = False
    record = Question(
        id=question_id(question, tuple(answers), tuple(choices)),
        question=question,
        answers=tuple(answers),
        supporting=tuple(dict.fromkeys(supporting)),
        choices=tuple(choices),
        group=group or group_of_meta(values),
        meta=values,
    )
    return SourceRow(record, tuple(kept.values()))


def ids_of_titles(passages: Sequence[Passage | None], titles: Sequence[str]) -> list[str]:
    """The ids of the passages with one of `titles`, in the order of the titles."""
    return [
        passage.id
        for title in titles
        for passage in passages
        if passage is not None and passage.title == title
    ]


def unique(values: Iterator[str] | Sequence[str]) -> list[str]:
    """`values` in order, without blanks and repetitions."""
    return [value for value in dict.fromkeys(values) if value]


def own_hops(row: JsonRow) -> list[SubQuestion]:
    """The row's own `decomposition`, a list of `{"question", "answer" or "answers", "title"}` (with
    `wordings`, `goal` and `sentence` where questions were made from passages) or of questions. An answer may
    be missing (StrategyQA) or a sentence (2WikiMultihopQA's paraphrases) and is not changed.
    """
    value = row.get("decomposition")
    if isinstance(value, list):
        value = [{"question": hop} if isinstance(hop, str) else hop for hop in value]
    return [
        SubQuestion(
            text_at(hop, "question"),
            alias_texts(hop["answers"] if hop.get("answers") is not None else hop.get("answer")),
            clean_title(optional_text(hop, "title")),
            alias_texts(hop.get("wordings")),
            optional_text(hop, "goal"),
            optional_text(hop, "sentence"),
        )
        for hop in records(value, "decomposition")
    ]
