"""A line to one server: its address, its token, and how long one conversation may take."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.providers import dialing
from lmroute.providers.addresses import resolve
from lmroute.providers.catalog import TYPES, server_root
from lmroute.providers.http import Reply, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpcore

    from lmroute.model import Profile, Secret
    from lmroute.providers.dialing import Resolver
    from lmroute.providers.inventory.listing import Listing


@dataclass(frozen=True, slots=True)
class Line:
    """Requests to one provider's server, with the headers of its dialect.

    Attributes:
        base: the address of its API, ``/v1`` included.
        total_s: bounds all that is asked over this line, in seconds.
    """

    pool: httpcore.ConnectionPool
    profile: Profile
    base: str
    listing: Listing
    token: Secret | None
    total_s: float

    def ask(self, path: str, body: Any = None, *, trace: Callable[[str, dict[str, Any]], None] | None = None) -> Reply:
        """``GET`` a path under the base; ``POST`` it with a JSON body.

        Raises:
            Unreadable, and httpcore's errors.
        """
        return self._read(self.base + path, body, trace)

    def ask_root(self, path: str, body: Any = None) -> Reply:
        """``ask`` for a path outside of the dialect's API, such as a native one."""
        return self._read(self.root + path, body, None)

    @property
    def root(self) -> str:
        """The server's address without any API path."""
        return server_root(self.base, TYPES[self.profile.type])

    def _read(self, url: str, body: Any, trace: Callable[[str, dict[str, Any]], None] | None) -> Reply:
        return read_json(
            self.pool,
            url,
            body=body,
            headers=self.listing.headers_with(self.token),
            connect_s=min(self.profile.timeouts.connect_s, self.total_s),
            total_s=self.total_s,
            trace=trace,
        )


@contextmanager
def opened(
    profile: Profile,
    base: str,
    listing: Listing,
    token: Secret | None,
    *,
    total_s: float,
    resolver: Resolver = resolve,
) -> Iterator[Line]:
    """A line that is closed, and over, at the end of the block or after ``total_s`` seconds."""
    with dialing.until(time.monotonic() + total_s), dialing.pool(base, profile.locality, resolver) as pool:
        yield Line(pool, profile, base, listing, token, total_s)
