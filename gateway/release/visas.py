"""The GA4GH form of a release: the claims of a ControlledAccessGrants visa (Passports 1.2).

The rules it keeps: a visa never outlives its grant; it names nobody but by opaque id. Signing is not
done here: the caller hands the claims to whoever holds the key.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from gateway.bank import SHANGHAI
from gateway.release.grants import Grant

#: A visa cannot be called back from whoever holds it, while a donor may withdraw any day: so it is
#: short, and the next release gives the next one. Our own choice, not the specification's.
LONGEST = timedelta(days=30)
URL_MOST = 255  # characters of a URL claim in a Passport


def release_url(issuer: str, grant_id: str, release_id: str) -> str:
    """Where the release lies on the gateway; the `value` of its visa."""
    return f"{issuer}/v1/grants/{grant_id}/releases/{release_id}"


def end_of(until: date) -> datetime:
    """The first instant at which a grant good through `until` (Shanghai) is over."""
    return datetime.combine(until + timedelta(days=1), time(), SHANGHAI)


def claims(grant: Grant, *, issuer: str, release_id: str, now: datetime) -> dict[str, object]:
    """The claims for one release to the organisation of `grant`, by its opaque id.

    `iss, sub, iat, exp, jti` and `ga4gh_visa_v1`; times in seconds since 1970 UTC. `exp` is the end
    of the grant's last day or 30 days from now, whichever comes first. Raises `ValueError` if the
    grant is over, or if the URL is longer than the specification lets it be.
    """
    end = min(end_of(grant.until), now + LONGEST)
    if end <= now:
        raise ValueError(f"the grant ended on {grant.until}")
    value = release_url(issuer, grant.id, release_id)
    if len(value) > URL_MOST:
        raise ValueError(f"`{value}` is longer than {URL_MOST} characters")
    return {
        "iss": issuer,
        "sub": grant.party_id,
        "iat": int(now.timestamp()),
        "exp": int(end.timestamp()),
        "jti": release_id,
        "ga4gh_visa_v1": {
            "type": "ControlledAccessGrants",
            "asserted": int(grant.created_at.timestamp()),
            "value": value,
            "source": issuer,
            # `by` is mandatory for this type; the bank's rules and officers stand where a data
            # access committee (dac) does.
            "by": "dac",
        },
    }
