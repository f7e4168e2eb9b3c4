"""What the scripts of python_functions_test.py call."""

import ctypes
import os
import pathlib
import time


def score(amount, country):
    return None if amount is None else amount * (2 if country == "CH" else 1) + 0.5


def is_even(number):
    return number % 2 == 0


def v_double(number):
    import pyarrow.compute as pc
    return pc.multiply(number, 2)


def stumble(number):
    """Every kind of bad row."""
    if number == 100:
        raise KeyError("a hundred")
    if number == 200:
        ctypes.string_at(0)
    while number == 300:
        time.sleep(1)
    if number == 400:
        return "four hundred"
    return number


def gate(number, folder):
    """Waits at the first row of a folder until the file `go` is there; tells who waits."""
    folder = pathlib.Path(folder)
    if number == 0:
        (folder / "waiting.new").write_text(str(os.getpid()))
        (folder / "waiting.new").rename(folder / "waiting")
        while not (folder / "go").exists():
            time.sleep(0.01)
    return number
