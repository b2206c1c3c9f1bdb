"""Several servers behind one setting: which of them gets a request.

The requests of one piece of work (`one_piece_of_work`: a question with its branches) stay with one server,
whose prefix cache then holds its beginning. New work goes to the server with the least of it: pieces that
stay there, and requests of no piece. A server that fails is left out, for longer each time, and then gets one
request at a time until it answers. Where all are left out, the one whose rest ends first is asked, so that a
single server is never spared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from src_core.server_url import addresses, server_url

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds that a server is left out after a failure; doubled with each further one."""


@dataclass(eq=False, slots=True)
class Replica:
    """One server. `pieces` of work stay with it, `requests` are in flight there, `loose` are those of no
    piece. `answered`: it gave a reply before; `refused` are its last connections in a row that could not be
    made. It is `suspect` from a failure to the next success: another server may have taken its place.
    """

    url: str
    pieces: int = 0
    requests: int = 0
    loose: int = 0
    answered: bool = False
    refused: int = 0
    suspect: bool = False
    rest: float = 0.0
    rests_until: float = 0.0


_HOMES: ContextVar[dict[Replicas, Replica] | None] = ContextVar("homes", default=None)


@contextmanager
def one_piece_of_work() -> Iterator[None]:
    """The requests inside stay with one server of each setting, also those of tasks that are started
    inside.
    """
    homes: dict[Replicas, Replica] = {}
    token = _HOMES.set(homes)
    try:
        yield
    finally:
        _HOMES.reset(token)
        for replica in homes.values():
            replica.pieces -= 1


class Replicas:
    """The servers of one setting: an address, or several with commas between them. Raises `UserError` for
    an address that cannot be one.
    """

    def __init__(self, urls: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        checked = (server_url(url) for url in addresses(urls) or (urls,))
        self.all = tuple(Replica(url) for url in dict.fromkeys(checked))
        self._clock = clock

    @contextmanager
    def place(self, *, avoid: Collection[Replica] = (), at: Replica | None = None) -> Iterator[Replica]:
        """The server for one request, which is in flight inside: `at` where it is given."""
        homes = _HOMES.get() if at is None else None
        replica = at or self._chosen(homes, avoid)
        loose = homes is None
        replica.requests += 1
        replica.loose += loose
        try:
            yield replica
        finally:
            replica.requests -= 1
            replica.loose -= loose

    def well(self, *, avoid: Collection[Replica]) -> list[Replica]:
        """The servers that are not left out, without those of `avoid`."""
        now = self._clock()
        return [each for each in self.all if each not in avoid and not self._resting(each, now)]

    def leave_out(self, replica: Replica, *, seconds: float = 0.0) -> bool:
        """A server failed, or asked to wait for `seconds`. Returns whether it was in use before."""
        now = self._clock()
        new = now >= replica.rests_until
        if new:  # of requests that fail together the first one counts
            replica.rest = min(max(2 * replica.rest, FIRST_REST), LONGEST_REST)
        replica.suspect = True
        replica.rests_until = max(replica.rests_until, now + (seconds or replica.rest))
        return new

    def works(self, replica: Replica) -> bool:
        """A server replied. Returns whether it had failed before."""
        was_out, replica.suspect = replica.suspect, False
        replica.rest = replica.rests_until = 0.0
        return was_out

    def _resting(self, replica: Replica, now: float) -> bool:
        return replica.rest > 0 and (now < replica.rests_until or replica.requests > 0)

    def _chosen(self, homes: dict[Replicas, Replica] | None, avoid: Collection[Replica]) -> Replica:
        if len(self.all) == 1:
            return self.all[0]
        well = self.well(avoid=avoid)
        home = homes.get(self) if homes is not None else None
        if home in well:
            return home
        rest: Sequence[Replica] = [each for each in self.all if each not in avoid] or self.all
        found = (
            min(well, key=lambda each: each.pieces + each.loose)
            if well
            else min(rest, key=lambda each: each.rests_until)
        )
        if homes is not None:
            if home is not None:
                home.pieces -= 1
            homes[self] = found
            found.pieces += 1
        return found
