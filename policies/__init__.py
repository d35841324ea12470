"""What the law and the donor say: pure decisions over facts, with the article cited.

Nothing here reads a clock, the environment, a socket or a database; the date is an argument.
"""
