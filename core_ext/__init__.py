"""Kernels: Cython beside a pure-Python twin, the same results from both."""
