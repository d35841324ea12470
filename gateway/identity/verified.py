"""What this process verified a moment ago, so that a token is not checked anew at each request.

INVARIANT: an answer from here is at most `LIFE` old, and never about a key or token whose end was
asked for in this process. `forget` is called inside the unit that ends it, before the commit: from
then on every request asks the database, which says "still good" until the commit and "ended" after
it, whether or not the unit is rolled back. Other processes see the end within `LIFE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.identity.api_keys import Key
from gateway.identity.scopes import Caller

#: How long a verified token is believed without asking again.
LIFE = timedelta(seconds=10)
#: How long nothing about an ended key or token is remembered: longer than any commit takes, so that
#: no answer read before the commit is kept past it.
GUARD = timedelta(minutes=15)
#: More tokens than this at once and all are checked anew.
CAPACITY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A verified token: its caller, the key behind it, its `jti` and until when to believe it."""

    caller: Caller
    key: Key
    jti: str
    since: datetime
    until: datetime


class Verified:
    """The memory of one process; safe from threads, for each step is one dictionary operation."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._ended: dict[str, datetime] = {}

    def get(self, digest: bytes, now: datetime) -> Known | None:
        """What is known of the token with this SHA-256, or None: ask the database."""
        known = self._known.get(digest)
        if known is None:
            return None
        # A clock set back must not lengthen an answer's life either.
        if known.since <= now < known.until and not self._is_ended(known):
            return known
        self._known.pop(digest, None)
        return None

    def put(self, digest: bytes, known: Known) -> None:
        """Remember a token just verified against the database."""
        if len(self._known) >= CAPACITY:
            self._known = {}
        self._known[digest] = known

    def forget(self, ended: str, now: datetime) -> None:
        """Never again answer for this key id or `jti` from memory."""
        if len(self._ended) >= CAPACITY:
            self._ended = {name: until for name, until in self._ended.items() if now < until}
        self._ended[ended] = now + GUARD

    def _is_ended(self, known: Known) -> bool:
        return any(
            known.since < self._ended[name]
            for name in (known.key.id, known.jti)
            if name in self._ended
        )
