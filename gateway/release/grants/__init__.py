"""Grants: access to certain holdings until a date, resting on one decision (unit parts, floor 2).

The rules it keeps: one decision gives one grant, never two; what is taken out stays listed with the
reason; a grant that ended never lives again. Dates are Shanghai dates, `until` is the last good day.

`standing` makes and ends them · `touch` finds and takes out what a change touches · `outgoing` writes
down what goes out under one.
"""

from gateway.release.grants.outgoing import manifest, record_release
from gateway.release.grants.standing import (
    LIVE,
    Grant,
    GrantState,
    Item,
    Page,
    Picked,
    complete,
    create,
    end_for_request,
    expire,
    get,
    items,
    list_grants,
    live_holdings,
    releasable,
    revoke,
    suspend,
)
from gateway.release.grants.touch import (
    Touch,
    Touched,
    receivers,
    receivers_of,
    shrink,
    shrink_for_withdrawal,
    shrink_touched,
    touched_by,
    touching,
)

__all__ = [
    "LIVE",
    "Grant",
    "GrantState",
    "Item",
    "Page",
    "Picked",
    "Touch",
    "Touched",
    "complete",
    "create",
    "end_for_request",
    "expire",
    "get",
    "items",
    "list_grants",
    "live_holdings",
    "manifest",
    "receivers",
    "receivers_of",
    "record_release",
    "releasable",
    "revoke",
    "shrink",
    "shrink_for_withdrawal",
    "shrink_touched",
    "suspend",
    "touched_by",
    "touching",
]
