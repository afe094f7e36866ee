"""Explores how operations can interleave, fail, be delayed and be killed.

A scheduler runs the product's operations. At each of their remote calls it decides what happens
next. The invariants are checked after each decision and at the end of each schedule.
"""
