"""Functions in Python of examples/python_functions.sql."""

import re


def channel(url):
    """The name of the channel in a URL; None where there is none. Called per row."""
    found = re.search(r"channel_id=(\d+)", url)
    return found.group(1) if found else None


def surprise(price, bidder):
    """A score from 0 to 1. Called per batch, with arrays of Arrow, and returns one."""
    import pyarrow.compute as pc
    mixed = pc.multiply(pc.ln(pc.cast(price, "double")), pc.cast(pc.bit_wise_and(bidder, 7), "double"))
    return pc.divide(1.0, pc.add(1.0, pc.exp(pc.negate(pc.divide(mixed, 10.0)))))
