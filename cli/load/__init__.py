"""Load for the benchmarks: trackers by the thousand, the gateway under test, and the bare loop.

Each runs as a process of its own, as they would in the field; all share this machine's cores.
"""
