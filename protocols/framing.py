"""Cutting frames out of a byte stream, one class for each way that devices do it."""
