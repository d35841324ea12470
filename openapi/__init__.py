"""The committed contract and the check that code and contract agree."""
