"""pymerkle in a process and environment of its own, told what to do by `bench.log` (GPL: never imported by us).

python pymerkle_log.py DATABASE     lines of JSON {"do", "count", "times"} in, seconds for each out
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable

from pymerkle import SqliteTree

LEAF = 348  # bytes, as long as ours


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def main() -> None:
    chance = random.Random(1)  # noqa: S311 - which proofs are asked for
    with SqliteTree(sys.argv[1]) as tree:

        def append(count: int) -> Callable[[], object]:
            leaves = [os.urandom(LEAF) for _ in range(count)]
            return lambda: tree.append_entries(leaves)

        def inclusion(_: int) -> Callable[[], object]:
            size = tree.get_size()
            index = chance.randint(1, size)
            return lambda: tree.prove_inclusion(index, size)

        def consistency(_: int) -> Callable[[], object]:
            size = tree.get_size()
            prior = chance.randint(1, size)
            return lambda: tree.prove_consistency(prior, size)

        does = {"append": append, "inclusion": inclusion, "consistency": consistency}
        for line in sys.stdin:
            told = json.loads(line)
            works = [does[told["do"]](told["count"]) for _ in range(told["times"])]
            # An append is waited for, its COMMIT included; a proof is CPU.
            clock = time.perf_counter if told["do"] == "append" else time.process_time
            print(sum(timed(work, clock) for work in works), flush=True)


if __name__ == "__main__":
    main()
