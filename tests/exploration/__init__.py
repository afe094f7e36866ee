"""Every order in which the operations can meet, fail, come late and die: explored.

A scheduler drives the product's own operations. Each of their remote calls is a point at which it
decides what happens next; what must always hold is checked at each of them, and at the end.
"""
