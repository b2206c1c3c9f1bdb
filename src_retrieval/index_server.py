"""Calls of a server that keeps an index: repeated where that may help, with errors for whoever is asking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from src_core.errors import IndexServerError, UserError
from src_core.http_json import RetryPolicy

T = TypeVar("T")


class Repeated:
    """Repeats a call whose `IndexServerError` is retryable, as often as the policy says; safe for several
    threads.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy, self._ended = policy, threading.Event()

    def give_up(self) -> None:
        """Calls of other threads are not repeated any more: they end with the error that they have."""
        self._ended.set()

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of `call`. Raises its last error."""
        policy = self._policy
        retrying = Retrying(
            stop=stop_after_attempt(policy.attempts) | stop_when_event_set(self._ended),
            sleep=sleep_using_event(self._ended),
            wait=wait_exponential(policy.first_wait, policy.longest_wait) + wait_random(0, policy.first_wait),
            retry=retry_if_exception(lambda error: isinstance(error, IndexServerError) and error.retryable),
            reraise=True,
        )
        found: T = retrying(call)
        return found


@contextmanager
def for_a_person() -> Iterator[None]:
    """While nothing is served yet, what a server says goes to the person who started the command."""
    try:
        yield
    except IndexServerError as error:
        raise UserError(str(error)) from error
