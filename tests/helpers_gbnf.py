"""A GBNF grammar without recursion as a regular expression: enough to check strings against ours by hand."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[\w-]+|[()|?+*]|\s+')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def gbnf_to_regex(grammar: str) -> re.Pattern[str]:
    """The pattern of rule `root`. Raises KeyError for a rule that is missing, ValueError for bad text."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.split("\n"))
    return re.compile(_rule(rules, "root"))


def _rule(rules: dict[str, str], name: str) -> str:
    body, at, out = rules[name], 0, []
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None:
            raise ValueError(f"rule {name}: cannot read {body[at:]!r}")
        at = token.end()
        out.append(_piece(rules, token.group()))
    return f"(?:{''.join(out)})"


def _piece(rules: dict[str, str], token: str) -> str:
    if token.isspace():
        return ""
    if token.startswith('"'):
        plain = re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], token[1:-1])
        return f"(?:{re.escape(plain)})"
    if token.startswith("["):
        return token
    if token in "()|?+*":
        return "(?:" if token == "(" else token
    return _rule(rules, token)
