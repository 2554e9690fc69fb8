"""Spell addresses that only this machine reaches, and such as others may."""

LOOPBACK = ("127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "localhost")
# What is not known to be local is taken for an address that others reach.
ELSEWHERE = (
    "0.0.0.0",
    "::",
    "0",
    "192.168.1.7",
    "10.0.0.1",
    "169.254.1.1",
    "128.0.0.1",
    "fe80::1",
    "2001:db8::7",
    "::2",
    "::ffff:192.168.1.7",
    "filter.example",
    "localhost.example",
    "127.0.0.1.example",
    "127.1",
    "[::1]",
)
