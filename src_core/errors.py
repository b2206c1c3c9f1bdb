"""One named error per boundary (model call, retriever call, user input); parse failures are values, not
errors.

`UserError` carries one sentence that says what is wrong and what to do; entry points print it and exit with
status 2. `ModelError` and `RetrieverError` are raised by the HTTP clients once their retries are spent and
are recorded on the sample, so that the other samples continue. Programming errors (TypeError, KeyError) are
never caught.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from src_core.caller import commands_seen
from src_core.lifetime import end_on_sigterm, was_terminated, watch_owner
from src_core.terminal import leave_output, one_line, replace_unknown, say

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)


ERROR_FILE = "REARAG_ERROR_FILE"
"""The variable with the file that gets the sentence of a `UserError` too, for the program that started this
one; without it no file does.
"""


class UserError(Exception):
    """A condition that the user can correct: the message says what is wrong and what to do, in one
    sentence.
    """


class ServerGoneError(UserError):
    """A server that answered before refuses all connections: the run stops, and no further question fails
    because of it. It is no `BoundaryError`, so that no row records it.
    """


class BoundaryError(Exception):
    """A remote call that failed after all retries. `retryable` is true where the same call might succeed
    later; `status` is the HTTP status of the reply, 0 where none came.
    """

    def __init__(self, message: str, *, retryable: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status


def is_of_server(error: Exception) -> bool:
    """Whether a call failed whatever it asked for: its server does not answer, or has no time. An HTTP 500
    may be about what was asked.
    """
    if isinstance(error, BoundaryError):
        return error.retryable and (error.status in (0, 408, 429) or error.status > 500)
    return isinstance(error, ServerGoneError)


class ModelError(BoundaryError):
    """An LLM server refused a request, closed the connection or timed out, after all retries."""


class ContextFullError(ModelError):
    """The conversation does not fit the model's context, even with its observations cut to the minimum."""


class RetrieverError(BoundaryError):
    """The retriever refused a request, closed the connection or timed out, after all retries."""


class IndexServerError(BoundaryError):
    """A server that keeps an index (Elasticsearch, a vector store) refused a request, closed the connection
    or timed out, after all retries.
    """


def run_main(main: Callable[[], int | None]) -> None:
    """Run an entry point: exit status 0 on success, 2 with one line on a `UserError`, 130 on Ctrl-C, 143 on
    SIGTERM or when the process that started it has ended, 2 with one line on a full disk and on a path that
    the system refuses; any other error is raised with its traceback. The text of a `KeyboardInterrupt` names
    the run that can be resumed. Characters that the output cannot show are replaced.
    """
    replace_unknown()
    try:
        end_on_sigterm()
        watch_owner()  # whose signal may come at once, if the owner has ended already
        code = main()
    except UserError as error:
        sentence = one_line(commands_seen(str(error)))
        say(f"error: {sentence}")
        if file := os.environ.get(ERROR_FILE):
            Path(file).write_text(sentence, encoding="utf-8", errors="replace")
        sys.exit(2)
    except OSError as error:
        said = _said(error)
        if not said:
            raise
        say(f"error: {one_line(said)}")
        leave_output()
        sys.exit(2)
    except KeyboardInterrupt as stopped:
        named = f" with {stopped}" if str(stopped) else ""
        say(f"interrupted: finished rows are saved; run the same command again{named} to resume")
        sys.exit(143 if was_terminated() else 130)
    sys.exit(code or 0)


def _said(error: OSError) -> str:
    """What a person can do about an error of the system that no one expected; "" where that is nothing."""
    if error.errno in _FULL:
        where = error.filename or "a file or the output"
        return f"{where} cannot be written: {error.strerror}; free some space and run the same command again"
    if error.errno in _NOT_ALLOWED and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}; check the path and its rights"
    return ""
