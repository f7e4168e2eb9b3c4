"""deploy/prometheus and deploy/grafana, in a real Prometheus that scrapes a running cluster.

Standard library only. Needs Debian's prometheus (programs prometheus and promtool).
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests/integration/cluster"),
                str(ROOT / "deploy/grafana")]
import dashboards  # noqa: E402
import watched_job  # noqa: E402
from cluster import Cluster, free_port  # noqa: E402

PROMETHEUS = ROOT / "deploy/prometheus"
SEVERITIES = {"critical", "warning", "info"}
UNITS = {"none", "s", "bytes", "cps", "percentunit"}
# Panels that a healthy cluster leaves empty.
EMPTY = {"Firing alerts", "Restarts", "Restarts in an hour"}
# The one metric in the rules that the watched job, which reads no database, does not have.
NOT_WATCHED = {"millrace_cdc_slot_retained_bytes"}
OF_PROMETHEUS = {"up", "ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}


def metrics_of(expression):
    """Names of series: words before a { or [, or that stand alone; no labels, functions, strings."""
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}", " ", text)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", text)
    return {w for w in words if w.startswith(("millrace_", "job:", "process_"))
            or w in OF_PROMETHEUS}


class Prometheus:
    """On loopback, with the example configuration, its targets replaced by those of `cluster`."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.port = free_port()
        text = (PROMETHEUS / "scrape.example.yml").read_text()
        workers = [f"127.0.0.1:{port}" for port in cluster.worker_http_ports]
        text = (text.replace("15s", "1s")
                .replace('"127.0.0.1:7071"', f'"127.0.0.1:{cluster.http_ports[0]}"')
                .replace('["127.0.0.1:7081"]', json.dumps(workers)))
        (folder / "millrace.rules.yml").write_text(
            (PROMETHEUS / "millrace.rules.yml").read_text())
        (folder / "prometheus.yml").write_text(text)

    def __enter__(self):
        with (self.folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml",
                 f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log)
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.get("query", query=expression)["result"]


def await_true(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass  # Not up yet.
        if time.monotonic() > deadline:
            raise AssertionError(what())
        time.sleep(0.2)


def panels():
    for name, content in dashboards.dashboards().items():
        for panel in content["panels"]:
            yield name, content, panel


class LiveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="millrace-observe-")))
        cls.cluster = cls.enterClassContext(Cluster(folder / "cluster", workers=2, cores=1))
        cls.job = watched_job.submit(cls.cluster, folder)
        for port in [*cls.cluster.http_ports, *cls.cluster.worker_http_ports]:
            cls.cluster.wait_for_port(port)
        (folder / "prometheus").mkdir()
        cls.prometheus = cls.enterClassContext(Prometheus(folder / "prometheus", cls.cluster))

    def expression(self, text):
        return (text.replace("$__rate_interval", "1m").replace("$cluster", "main")
                .replace("$job_id", self.job))

    def test_every_panel_shows_something(self):
        for name, _, panel in panels():
            for target in panel["targets"]:
                expression = self.expression(target["expr"])
                self.assertNotIn("$", expression, name)
                if panel["title"] in EMPTY:
                    self.prometheus.query(expression)  # It parses.
                    continue
                with self.subTest(panel=panel["title"]):
                    await_true(lambda: self.prometheus.query(expression), 60,
                               lambda: f"{name}: {panel['title']}: no data: {expression}")

    def test_variables_find_the_job(self):
        await_true(lambda: self.prometheus.query("millrace_job_info"), 60, lambda: "no job")
        found = self.prometheus.query('millrace_job_info{cluster="main",job_name="watched"}')
        self.assertEqual([r["metric"]["job_id"] for r in found], [self.job])

    def test_no_alert_fires_on_a_healthy_cluster_and_every_metric_of_a_rule_exists(self):
        exists = lambda: set(self.prometheus.get("label/__name__/values"))  # noqa: E731
        rules = [rule for group in self.prometheus.get("rules")["groups"]
                 for rule in group["rules"]]
        wanted = set().union(*(metrics_of(rule["query"]) for rule in rules)) - NOT_WATCHED
        # These come with the first of what they count; the documentation's test makes one.
        wanted -= {"millrace_job_restarts_total"}
        await_true(lambda: wanted <= exists(), 60, lambda: sorted(wanted - exists()))
        self.assertEqual([rule["name"] for rule in rules if rule.get("health") == "err"], [])
        self.assertEqual([alert["labels"] for alert in self.prometheus.get("alerts")["alerts"]
                          if alert["state"] == "firing"], [])


class RulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = (PROMETHEUS / "millrace.rules.yml").read_text()
        cls.alerts = re.split(r"\n      - alert: ", cls.text)[1:]

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_promtool_accepts_them(self):
        self.promtool("check", "rules", "millrace.rules.yml")
        self.promtool("check", "config", "scrape.example.yml")

    def test_alerts_fire_and_are_silent(self):
        self.promtool("test", "rules", "millrace_test.yml")
        cases = (PROMETHEUS / "millrace_test.yml").read_text()
        for alert in self.alerts:
            name = alert.split()[0]
            mine = re.findall(rf'alertname="{name}".*exp_samples: (.*)\}}', cases)
            self.assertIn("[]", mine, f"{name} has no silent case")
            self.assertTrue(any(case != "[]" for case in mine), f"{name} has no firing case")

    def test_alerts_say_what_to_do(self):
        self.assertGreater(len(self.alerts), 15)
        headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
        names = [alert.split()[0] for alert in self.alerts]
        self.assertEqual(sorted(headings), sorted(names))
        for name, alert in zip(names, self.alerts):
            self.assertIn(re.search(r"severity: (\w+)", alert).group(1), SEVERITIES, name)
            for annotation in ("summary", "description"):
                self.assertRegex(alert, rf"          {annotation}: \S", name)
            self.assertIn(f"runbook: docs/runbooks.md#{name.lower()}\n", alert + "\n", name)

    def test_metrics_are_documented(self):
        documented = set(re.findall(r"`(millrace_\w+)", (ROOT / "docs/operations.md").read_text()))
        recorded = set(re.findall(r"record: (\S+)", self.text))
        used = [metrics_of(e) for e in re.findall(r"^ +expr: (.*)$", self.text, re.MULTILINE)]
        used += [metrics_of(t["expr"]) for _, _, panel in panels() for t in panel["targets"]]
        for name in set().union(*used):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            self.assertTrue({name, base} & (documented | recorded | OF_PROMETHEUS), name)


class DashboardsTest(unittest.TestCase):
    def test_files_are_what_the_generator_writes(self):
        for name, content in dashboards.dashboards().items():
            text = (ROOT / "deploy/grafana" / name).read_text()
            self.assertEqual(json.loads(text), content, "run deploy/grafana/dashboards.py")

    # The rules of Grafana's dashboard-linter, but those for the labels job and instance: our
    # series are told apart by cluster and job_id.
    def test_rules_of_the_linter(self):
        for name, board in dashboards.dashboards().items():
            self.assertEqual(name, board["uid"] + ".json")
            self.assertFalse(board["editable"])
            self.assertEqual(board["timezone"], "utc")
            variables = [v["name"] for v in board["templating"]["list"]]
            self.assertEqual(variables[:2], ["datasource", "cluster"])
            titles = [p["title"] for p in board["panels"]]
            self.assertEqual(len(titles), len(set(titles)), "titles are unique")
        for name, board, panel in panels():
            where = f"{name}: {panel['title']}"
            self.assertTrue(panel["title"] and panel["description"], where)
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS, where)
            self.assertEqual(panel["datasource"]["uid"], "${datasource}", where)
            self.assertTrue(panel["targets"], where)
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${datasource}", where)
                for selector in re.findall(r"((?:millrace|process)_\w+)(\{[^}]*\})?",
                                           target["expr"]):
                    self.assertIn('cluster="$cluster"', selector[1], where)
                    if name == "millrace-job.json":
                        self.assertIn('job_id="$job_id"', selector[1], where)
                for rate in re.findall(r"(?<!i)rate\([^[]*\[([^]]*)\]", target["expr"]):
                    self.assertIn(rate, ("$__rate_interval", "5m"), where)

    def test_panels_do_not_overlap(self):
        for name, board in dashboards.dashboards().items():
            taken = set()
            for panel in board["panels"]:
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                         for y in range(place["y"], place["y"] + place["h"])}
                self.assertFalse(taken & cells, f"{name}: {panel['title']}")
                self.assertLessEqual(place["x"] + place["w"], 24)
                taken |= cells


if __name__ == "__main__":
    unittest.main(verbosity=2)
