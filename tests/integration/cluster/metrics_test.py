"""What running programs export, against the tables of docs/operations.md: no name or label there
that they do not have, none of theirs that is not there. Real processes, no server."""

import collections
import http.client
import pathlib
import re
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
import watched_job  # noqa: E402
from cluster import Cluster  # noqa: E402


def documented():
    """Names and the labels that the document gives them, but for those of functions in Python,
    which the watched job has not."""
    text = (ROOT / "docs/operations.md").read_text()
    tables = text[text.index("## Metrics"):text.index("Alerts that")]
    return {name: set(filter(None, labels.split(",")))
            for name, labels in re.findall(r"`(millrace_\w+)(?:\{([\w,]+)\})?`", tables)
            if not name.startswith("millrace_python_")}


def page(port):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()


class Page:
    def __init__(self, text):
        self.text = text
        self.kinds = dict(re.findall(r"^# TYPE (millrace_\w+) (\w+)", text, re.MULTILINE))
        self.labels = collections.defaultdict(set)
        self.values = collections.defaultdict(float)  # Summed over all labels.
        for name, labels, value in re.findall(r"^(millrace_\w+)(?:\{(.*)\})? (\S+)$", text,
                                              re.MULTILINE):
            self.labels[name] |= set(re.findall(r'(\w+)="', labels))
            self.values[name] += float(value)

    def labels_of(self, name):
        return self.labels[name + "_sum" if self.kinds[name] == "histogram" else name]


class MetricsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-metrics-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        self.job = watched_job.submit(self.cluster, self.folder)

    def pages(self):
        ports = [*self.cluster.http_ports, *self.cluster.worker_http_ports]
        for port in ports:
            self.cluster.wait_for_port(port)
        return [Page(page(port)) for port in ports]

    def await_pages(self, reached):
        deadline = time.monotonic() + 60
        while True:
            pages = self.pages()
            if reached(*pages):
                return pages
            self.assertLess(time.monotonic(), deadline, "\n".join(p.text for p in pages))
            time.sleep(0.1)

    def test_the_tables_of_the_documentation_are_true(self):
        def committed(coordinator, *workers):
            return sum(w.values["millrace_sink_commits_total"] for w in workers) > 2
        self.await_pages(committed)
        self.cluster.kill_worker(1)  # So that there is a restart to count.
        self.cluster.start_worker(1)
        coordinator, *workers = self.await_pages(
            lambda coordinator, *workers: committed(coordinator, *workers)
            and any("millrace_feature_drift_psi" in w.kinds for w in workers)
            and coordinator.values["millrace_job_restarts_total"] == 1)
        found = {}
        for each in [coordinator, *workers]:
            for name, kind in each.kinds.items():
                found.setdefault(name, set()).update(each.labels_of(name))
                self.assertEqual(name.endswith("_total"), kind == "counter", name)
        wanted = documented()
        self.assertGreater(len(wanted), 40)
        self.assertEqual(sorted(found), sorted(wanted))
        for name, labels in wanted.items():
            self.assertLessEqual(labels, found[name], name)
            self.assertFalse({"job", "instance"} & found[name], name)

    def test_values_agree_with_one_another(self):
        coordinator, *workers = self.await_pages(
            lambda coordinator, *workers: coordinator.values["millrace_checkpoints_total"] >= 3
            and all(w.values["millrace_source_records_total"] > 0 for w in workers))
        self.assertEqual(coordinator.values["millrace_jobs"], 1)
        self.assertEqual(coordinator.values["millrace_job_state"], 1)
        self.assertGreater(coordinator.values["millrace_job_state_seconds_total"], 0)
        self.assertEqual(coordinator.values["millrace_workers"], 2)
        tasks = sum(len(re.findall(r"^millrace_task_busy_seconds_total", w.text, re.MULTILINE))
                    for w in workers)
        self.assertEqual(coordinator.values["millrace_worker_tasks"], tasks)
        self.assertEqual(sum(w.values["millrace_source_splits"] for w in workers), 4)
        # Each phase of each epoch was seen by each task; the whole once.
        phases = coordinator.values["millrace_checkpoint_task_phase_seconds_count"]
        epochs = coordinator.values["millrace_checkpoint_duration_seconds_count"]
        self.assertGreaterEqual(phases, epochs * tasks * 4)

    def test_a_worker_ends_while_it_is_scraped(self):
        self.pages()
        port = self.cluster.worker_http_ports[1]
        scrapes, begun = [], threading.Event()

        def scrape():  # On one connection, as Prometheus does.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                while True:
                    connection.request("GET", "/metrics")
                    scrapes.append(len(connection.getresponse().read()))
                    begun.set()
            except OSError:
                pass  # It has ended.
            except http.client.HTTPException:
                pass

        threads = [threading.Thread(target=scrape) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.assertTrue(begun.wait(30))
        self.cluster.end_worker(1)  # Fails unless it exits with 0.
        for thread in threads:
            thread.join(30)
        self.assertGreater(max(scrapes), 1000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
