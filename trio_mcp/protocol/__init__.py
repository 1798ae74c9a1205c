"""The protocol as pure functions and values: bytes in, values out, no I/O and no clock."""
