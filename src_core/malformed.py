"""Malformed replies on record: what the model said where no step could be read, for who asks why.

A run whose model writes another form than its method expects has no steps, so that the text of its replies
is the only thing that says what is wrong. It is foreign text: terminal and pages show it as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MOST_CHARS = 2000
"""The characters of a reply that are kept."""
MOST_REPLIES = 5
"""The replies of one question that are kept; all are counted."""
FAILURES, REPLIES = "parse_failures", "malformed_replies"


class Malformed(NamedTuple):
    """A reply that is no step: the code of the parser's error, and its text with the think block, cut at
    `MOST_CHARS`.
    """

    code: str
    text: str


def malformed_notes(found: Sequence[Malformed]) -> dict[str, Any]:
    """For the provenance of a row: the code of each malformed reply, and the texts of the first ones."""
    notes: dict[str, Any] = {FAILURES: [reply.code for reply in found]}
    if found:
        notes[REPLIES] = [reply._asdict() for reply in found[:MOST_REPLIES]]
    return notes


def malformed_in(provenance: Mapping[str, Any]) -> list[Malformed]:
    """What `malformed_notes` wrote; [] for rows without texts, and what another program wrote is text."""
    rows = provenance.get(REPLIES)
    if not isinstance(rows, list):
        return []
    found = [row for row in rows[:MOST_REPLIES] if isinstance(row, dict)]
    return [Malformed(str(row.get("code", "")), str(row.get("text", ""))[:MOST_CHARS]) for row in found]


def malformed_page(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The field of a row from which `page/parts.js` draws them; {} where there are none."""
    found = malformed_in(provenance)
    return {REPLIES: [reply._asdict() for reply in found]} if found else {}
