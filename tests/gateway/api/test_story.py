from __future__ import annotations

from tests.gateway.api.cast import Cast
from tests.gateway.api.door import Door, good


def test_every_kind_of_thing_can_be_read_again(door: Door, cast: Cast) -> None:
    made = cast.made
    assert good(door.get(f"/v1/access-requests/{made['request']}", as_=cast.key))["ask"]
    assert good(door.get(f"/v1/grants/{made['grant']}", as_=cast.key))["state"] == "active"
    assert good(door.get(f"/v1/releases/{made['release']}", as_=cast.key))["visa"]
