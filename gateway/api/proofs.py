"""The proof that a decision stands in the log."""

from __future__ import annotations

import asyncio

from audit import log
from audit.check import checkpoint_of
from audit.note import TlogProof
from gateway import deciding
from gateway.api.schemas.decision import ProofOut
from gateway.bank import Bank


async def of_decision(bank: Bank, decision_id: str, *, party_id: str | None) -> ProofOut:
    """The proof of a decision's leaf under the newest checkpoint that covers it.

    Raises `not_found` for an unknown decision and for another organisation's alike.
    """
    answer = await asyncio.to_thread(deciding.read_decision, bank, decision_id, party_id=party_id)
    # A checkpoint is published every second; whoever asks sooner has it published now. `log.proof`
    # may store one, so it runs where everything is written.
    text = await bank.database.write_async(
        lambda conn: log.proof(conn, bank.origin, answer.leaf_index, bank.keys.log)
    )
    proof = TlogProof.from_bytes(text)
    return ProofOut(
        decision=decision_id,
        origin=bank.origin,
        index=proof.index,
        size=checkpoint_of(proof.checkpoint, bank.origin).size,
        leaf_hash=answer.leaf_hash.hex(),
        inclusion=[hashed.hex() for hashed in proof.hashes],
        checkpoint=proof.checkpoint.decode(),
        text=text.decode(),
    )
