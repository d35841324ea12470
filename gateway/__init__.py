"""The gateway: the door in front of the bank. It gathers facts, asks the PDP, records, gives effect."""
