"""One self-contained HTML file: it includes its style, its script and its data.

What people and models wrote is data inside the page: JSON without a single `<`, put on screen as text only. A
Content-Security-Policy allows the page's own script and style by their hashes and nothing else, so that even
a mistake there could not run or fetch anything. Before its own script and style stand those that all pages
share (`page/parts.js`, `page/parts.css`).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

import orjson

from src_core.terminal import one_line

PARTS = Path(__file__).resolve().parent / "page"  # shared by all pages
_NOT_IN_A_SCRIPT = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def fill_page(template: str, *, title: str, style: str, script: str, data: Any) -> bytes:
    """The page: `template` with `{{csp}}`, `{{title}}`, `{{style}}`, `{{script}}` and `{{data}}` filled in,
    as UTF-8. `title` is any text; `style` and `script` are the page's own files; `data` is what `inert_json`
    takes.
    """
    style = (PARTS / "parts.css").read_text(encoding="utf-8") + style
    script = (PARTS / "parts.js").read_text(encoding="utf-8") + script
    values = {
        "csp": f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(one_line(title)),
        "style": style,
        "script": script,
        "data": inert_json(data),
    }
    pieces = template.split("{{")
    page = [pieces[0]]
    for piece in pieces[1:]:  # one pass: a placeholder inside a value is not replaced
        name, _, rest = piece.partition("}}")
        page.append(values[name] + rest)
    return "".join(page).encode("utf-8", "replace")


def inert_json(value: Any) -> str:
    """JSON that cannot end its script element or open a comment in it. Lone surrogates are written as
    escapes; NaN and infinity raise ValueError.
    """
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate
        text = json.dumps(value, allow_nan=False)
    for char, escape in _NOT_IN_A_SCRIPT.items():
        text = text.replace(char, escape)
    return text


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
