"""The chart: rendered with several value files, checked against Kubernetes' schemas, against the programs
and against itself; and the plain manifests that are made from it."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD  # noqa: E402

CHART = ROOT / "deploy" / "helm" / "millrace"
KUSTOMIZE = ROOT / "deploy" / "kustomize"
TOOLS = pathlib.Path(sys.executable).parent
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
VERSIONS = ["1.27.0", "1.30.0", "1.37.0"]
PROGRAMS = {"millrace-coordinator": "coordinator", "millrace-worker": "worker", "millrace": "cli"}
# Custom resources have no schema there.
CUSTOM = {"PodMonitor"}


def run(tool, *arguments, check=True):
    return subprocess.run([str(TOOLS / tool), *map(str, arguments)], check=check,
                          capture_output=True, text=True)


def render(*arguments):
    text = run("helm", "template", "shop", CHART, "--namespace", "streams", *arguments).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def pods_of(documents):
    """(name, labels, pod spec) of everything that makes pods. Claims of a StatefulSet are volumes."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"]["name"], document["metadata"]["labels"], document["spec"]
        elif "template" in document.get("spec", {}):
            template = document["spec"]["template"]
            pod = template["spec"]
            pod["volumes"] = pod.get("volumes", []) + [
                {"name": claim["metadata"]["name"]}
                for claim in document["spec"].get("volumeClaimTemplates", [])]
            yield document["metadata"]["name"], template["metadata"]["labels"], pod


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


class ChartTest(unittest.TestCase):
    maxDiff = None

    @staticmethod
    def each():
        for values in VALUES:
            yield values.name, render("--values", values)

    def test_lint(self):
        for values in VALUES:
            done = run("helm", "lint", "--strict", CHART, "--values", values, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_object_fits_the_schemas_of_kubernetes(self):
        for values, documents in self.each():
            with self.subTest(values=values):
                self.assertGreaterEqual(len(documents), 6)
                for document in documents:
                    if document["kind"] in CUSTOM:
                        continue
                    for version in VERSIONS:
                        kubernetes_validate.validate(document, version, strict=True)

    def test_every_flag_is_one_of_the_program(self):
        for values, documents in self.each():
            with self.subTest(values=values):
                for name, _, pod in pods_of(documents):
                    for container in pod["containers"]:
                        (program,) = container["command"]
                        help_text = subprocess.run(
                            [str(BUILD / PROGRAMS[program] / program), "--help"], check=True,
                            capture_output=True, text=True).stdout
                        for argument in container["args"]:
                            flag = re.match(r"--[a-z-]+", argument)
                            if flag:
                                self.assertIn(f"{flag.group()} ", help_text, name)

    def test_pods_are_restricted(self):
        for values, documents in self.each():
            with self.subTest(values=values):
                for name, _, pod in pods_of(documents):
                    self.assertTrue(pod["securityContext"]["runAsNonRoot"], name)
                    self.assertEqual(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
                    self.assertFalse(pod["automountServiceAccountToken"], name)
                    for container in pod["containers"]:
                        security = container["securityContext"]
                        self.assertTrue(security["readOnlyRootFilesystem"], name)
                        self.assertFalse(security["allowPrivilegeEscalation"], name)
                        self.assertEqual(security["capabilities"], {"drop": ["ALL"]}, name)
                        self.assertIn("memory", container["resources"]["limits"], name)
                        self.assertEqual(
                            {mount["name"] for mount in container.get("volumeMounts", [])},
                            {volume["name"] for volume in pod.get("volumes", [])}, name)

    def test_selectors_find_pods_and_ports(self):
        for values, documents in self.each():
            with self.subTest(values=values):
                pods = list(pods_of(documents))
                for document in documents:
                    spec = document.get("spec", {})
                    selector = {"Service": spec.get("selector"),
                                "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
                                "PodMonitor": spec.get("selector", {}).get("matchLabels"),
                                "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
                                }.get(document["kind"])
                    if selector is None:
                        continue
                    found = [pod for _, labels, pod in pods if matches(selector, labels)]
                    self.assertTrue(found, document["metadata"]["name"])
                    ports = {port["name"]: port["containerPort"]
                             for pod in found for port in pod["containers"][0].get("ports", [])}
                    if document["kind"] == "Service":
                        for port in spec["ports"]:
                            self.assertEqual(port["port"], ports[port["targetPort"]])
                    if document["kind"] == "NetworkPolicy":
                        opened = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
                        self.assertEqual(opened, set(ports.values()))

    def test_the_pod_waits_longer_than_its_worker_drains(self):
        for values, documents in self.each():
            with self.subTest(values=values):
                (worker,) = [d for d in documents if d["kind"] == "StatefulSet"]
                pod = worker["spec"]["template"]["spec"]
                (drain,) = [int(argument.split("=")[1]) for argument in pod["containers"][0]["args"]
                            if argument.startswith("--drain-timeout=")]
                self.assertGreater(pod["terminationGracePeriodSeconds"], drain)

    def test_values_that_make_no_sense_are_refused(self):
        for wrong, reason in [("worker.replica=3", "replica"),
                              ("worker.replicas=two", "replicas"),
                              ("tls.enabled=true", "Secret"),
                              ("access.secret=callers", "tls"),
                              ("coordinator.resources.limits.memory=lots", "memory"),
                              ("checkpoints.accessMode=Some", "accessMode")]:
            done = run("helm", "template", "shop", CHART, "--set", wrong, check=False)
            self.assertNotEqual(done.returncode, 0, wrong)
            self.assertIn(reason, done.stderr, wrong)

    def test_every_value_is_explained(self):
        lines = (CHART / "values.yaml").read_text().splitlines()
        self.assertFalse([line for line in lines if len(line) > 110])
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())

        def compare(values, about, path):
            self.assertEqual(set(values) - set(about["properties"]), set(), path)
            for key, inner in values.items():
                if isinstance(inner, dict) and "properties" in about["properties"][key]:
                    compare(inner, about["properties"][key], f"{path}.{key}")

        compare(yaml.safe_load("\n".join(lines)), schema, "values")

    def test_plain_manifests_are_those_of_the_chart(self):
        subprocess.run([sys.executable, str(KUSTOMIZE / "generate.py"), "--check"], check=True)
        for variant in ("base", "one-node"):
            text = run("kubectl", "kustomize", KUSTOMIZE / variant).stdout
            documents = list(yaml.safe_load_all(text))
            self.assertIn("StatefulSet", [document["kind"] for document in documents])
            for document in documents:
                kubernetes_validate.validate(document, VERSIONS[-1], strict=True)

    def test_manifests_of_the_documentation_are_valid(self):
        text = (ROOT / "docs" / "kubernetes.md").read_text()
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        self.assertGreaterEqual(len(blocks), 3)
        for block in blocks:
            documents = list(yaml.safe_load_all(block))
            if all(isinstance(document, dict) and "kind" in document for document in documents):
                for document in documents:
                    kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
            else:  # Values.
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                    file.write(block)
                    file.flush()
                    render("--values", file.name)


if __name__ == "__main__":
    unittest.main()
