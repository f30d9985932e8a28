"""Hostile input: a corpus of records and batches as nobody should send them, through the real consumer."""
