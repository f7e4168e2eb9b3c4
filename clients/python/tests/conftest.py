"""The package under test, with freshly generated stubs, and a real cluster for it.

Environment: MILLRACE_BUILD is the build folder (default build/).
"""

import importlib.util
import pathlib
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent
ROOT = PROJECT.parents[1]


def _install():
    """What a build of the package does: its files and the generated ones in one folder."""
    folder = tempfile.mkdtemp(prefix="millrace-client-")
    shutil.copytree(PROJECT / "src" / "millrace", pathlib.Path(folder) / "millrace",
                    ignore=shutil.ignore_patterns("v1", "__pycache__"))
    spec = importlib.util.spec_from_file_location("generate_stubs", PROJECT / "generate_stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(folder)
    sys.path.insert(0, folder)
    return folder


_PACKAGE = _install()
# The cluster of real processes is shared with the benchmarks.
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.path.insert(0, str(ROOT / "tests" / "integration"))


# Arrow's wheel, which the build has unpacked, where no pyarrow is installed.
if importlib.util.find_spec("pyarrow") is None:
    sys.path.append(str(ROOT / ".dev" / "arrow"))


def pytest_unconfigure(config):
    shutil.rmtree(_PACKAGE, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """One coordinator and one worker for all tests that do not hurt them."""
    from cluster import Cluster
    with Cluster(tmp_path_factory.mktemp("cluster"), memory_mb=128) as running:
        _wait_for_worker(running)
        yield running


@pytest.fixture
def own_cluster(tmp_path):
    """A cluster for a test that kills parts of it."""
    from cluster import Cluster
    with Cluster(tmp_path / "cluster", memory_mb=128) as running:
        _wait_for_worker(running)
        yield running


@pytest.fixture
def client(cluster):
    from millrace import Client
    with Client(cluster.address) as client:
        yield client


def _wait_for_worker(cluster):
    import time
    from millrace import Client
    deadline = time.monotonic() + 30
    with Client(cluster.address) as client:
        while not client.workers():
            assert time.monotonic() < deadline, "no worker has registered"
            time.sleep(0.05)
