"""What happened, provably: a Merkle log kept beside the tables whose changes it records.

`log` writes and reads entries, `package` hands them to a regulator, `verify` stands alone and
checks what was handed over. Nothing here imports the gateway or the policies.
"""
