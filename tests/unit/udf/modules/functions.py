"""What the tests of the operator call."""

import ctypes
import datetime
import decimal
import os
import pathlib
import signal
import sys
import time

print("functions are loaded")


def same(value):
    return value


def type_name(value):
    return type(value).__name__


def add(a, b):
    return a + b


def pid():
    return os.getpid()


def shout(text):
    print("out:", text)
    print("err:", text, file=sys.stderr)
    return text.upper()


def fail_on(value, bad):
    if value == bad:
        raise ValueError(f"no {value} please")
    return value


def crash_on(value, bad):
    if value == bad:
        ctypes.string_at(0)
    return value


def exit_on(value, bad):
    if value == bad:
        os._exit(7)
    return value


def quit_on(value, bad):
    if value == bad:
        sys.exit("enough")
    return value


def hang_on(value, bad):
    while value == bad:
        time.sleep(1)
    return value


def crash_with_child_on(value, bad):
    """The child has the socket, too, and goes on."""
    if value == bad:
        if os.fork() == 0:
            time.sleep(600)
        os._exit(7)
    return value


def die_once(value, marker):
    """The first process that gets here is killed, as by somebody else."""
    path = pathlib.Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def slow(value):
    time.sleep(0.03)
    return value


def decimal_of(text):
    return decimal.Decimal(text)


def instant(year):
    return datetime.datetime(year, 1, 2, 3, 4, 5, 678000)


def text_of(size):
    return "x" * size


# ---- Vectorised.


def v_add(a, b):
    import pyarrow.compute as pc
    return pc.add(a, b)


def v_same(value):
    return value


def v_fail_on(value, bad):
    for one, other in zip(value, bad):
        if one.as_py() == other.as_py():
            raise ValueError(f"no {one} please")
    return value


def v_crash_on(value, bad):
    for one, other in zip(value, bad):
        if one.as_py() == other.as_py():
            ctypes.string_at(0)
    return value


def v_list(value):
    return [None if one.as_py() is None else one.as_py() * 2 for one in value]


def v_short(value):
    return value[1:]
