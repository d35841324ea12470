"""Grants: access to certain holdings until a date, resting on one decision (unit parts, floor 2).

The rules it keeps: one decision gives one grant, never two; what is taken out stays listed with the
reason; a grant that ended never lives again. Dates are Shanghai dates, `until` is the last good day.

`standing` makes and ends them · `touch` finds and takes out what a change touches · `outgoing` makes the
papers of what goes out under one and writes it down.
"""

from gateway.release.grants.outgoing import end_of, manifest, record_release, visa_claims
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
    "end_of",
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
    "visa_claims",
]
