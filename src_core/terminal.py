"""Text on its way to the terminal: `plain` makes foreign text harmless, and all output goes through it.

Questions, passages, replies, server messages, file names and settings are written by others. A control
character in them could erase the screen, set the clipboard or forge a line, and a bidirectional override
could show another text than the one that is there. `say`, `answer`, `log_to_stderr` and the consoles of
`src_core.console` replace such characters; `tests/test_core_terminal.py` checks that no other module writes
to the standard streams.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

from src_core.caller import commands_seen

NEWLINE = "⏎"
"""What stands for a line end where text must stay on one line."""
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_HARMLESS = "\n\t"


def _visible() -> dict[int, str]:
    """One visible character per harmful one, so that no text changes its length."""
    harmful = [*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    harmful += [*range(0xD800, 0xE000), *range(0xE0000, 0xE0080)]  # lone surrogates; invisible tag characters
    table = dict.fromkeys(harmful, _REPLACED)
    return table | {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _HARMLESS}


VISIBLE = _visible()
"""For `str.translate`."""


def plain(text: str) -> str:
    """`text` with a visible character for each control character, bidirectional override and lone surrogate;
    line ends and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(VISIBLE)


def one_line(text: str) -> str:
    """`plain` text on one line: a line end becomes `⏎`, a tab a space."""
    return plain(text.strip()).replace("\n", f" {NEWLINE} ").replace("\t", " ")


def replace_unknown() -> None:
    """From now on, characters that the encoding of standard output lacks are replaced."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):  # a descriptor that was exchanged below it
            sys.stdout.reconfigure(errors="replace")


def say(text: str) -> None:
    """One line for the person, to standard error (nowhere if that is closed)."""
    if sys.stderr is None:
        return
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


def answer(text: str) -> None:
    """The result of a command, to standard output: plain on a terminal; a script that reads it gets each byte
    as it is, such as the name of a file.
    """
    out = sys.stdout
    if out is None:
        return
    bytes_out = None if out.isatty() else getattr(out, "buffer", None)
    if bytes_out is None:
        out.write(plain(text) + "\n")
    else:
        out.flush()
        bytes_out.write((text + "\n").encode("utf-8", "surrogateescape"))
    out.flush()


def leave_output() -> None:
    """Write no more to standard output, which is full: what is left in its buffer would fail once more at
    the end.
    """
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def log_to_stderr() -> None:
    """Log lines of a server: one line per record, foreign text in it plain; a traceback follows as it is,
    plain too.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _PlainFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        return plain(super().formatException(ei))


class CommandLine(argparse.ArgumentParser):
    """A command line of named options: a mistake is reported as every other error is."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end with status 2."""
        say(commands_seen(f"error: {one_line(message)}; see: .venv/bin/python -m {self.prog} --help"))
        sys.exit(2)
