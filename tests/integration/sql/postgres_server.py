"""The server of MILLRACE_TEST_POSTGRES, which is its port (dev/services)."""

import os
import subprocess
import unittest

PORT = os.environ.get("MILLRACE_TEST_POSTGRES")
needs_server = unittest.skipIf(PORT is None, "needs a server: MILLRACE_TEST_POSTGRES=port")


def psql(statements, database="postgres"):
    """What they print, a line per row, with | between the columns."""
    done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", PORT, "-U", "postgres", "-qAt",
                           "-v", "ON_ERROR_STOP=1", "-d", database], input=statements,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_database(test_class, name):
    """For the tests of a class: it goes with them."""
    psql(f"CREATE DATABASE {name}")
    test_class.addClassCleanup(psql, f"DROP DATABASE {name} WITH (FORCE)")
