"""The chart on a real control plane: what the API server admits, what controllers make of it."""

import json
import re
import sys
import tempfile
import unittest

from control_plane import FOLDER, ROOT, ControlPlane, is_built

CHART = ROOT / "deploy" / "helm" / "millrace"
NAMESPACE = "streams"
SKIPPED = 77  # For ctest.


class KubernetesTest(unittest.TestCase):
    """The tests go by name, and each leaves a release of two workers."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="millrace-kubernetes-"))
        cls.plane = cls.enterClassContext(ControlPlane(folder))
        for number in range(3):
            cls.plane.add_node(f"node-{number}", f"zone-{number % 2}")
        cls.plane.add_volume("metadata", "1Gi", "ReadWriteOnce")
        cls.plane.add_volume("shared", "20Gi", "ReadWriteMany")
        # The strictest standard for pods: what it forbids, the API server refuses.
        cls.plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        cls.release("install")

    @classmethod
    def release(cls, verb, *arguments):
        cls.plane.helm(verb, "millrace", CHART, "--namespace", NAMESPACE, "--wait", "--timeout",
                       "60s", *arguments)

    def kubectl(self, *arguments, check=True):
        return self.plane.kubectl("--namespace", NAMESPACE, *arguments, check=check)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def workers(self):
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.get(
            "pods", "--selector", "app.kubernetes.io/component=worker")["items"]
            if "deletionTimestamp" not in pod["metadata"]}

    def test_1_everything_becomes_ready(self):
        self.assertEqual(self.get("deployment", "millrace-coordinator")["status"]["readyReplicas"], 1)
        self.assertEqual(self.get("statefulset", "millrace-worker")["status"]["readyReplicas"], 2)
        for claim in self.get("persistentvolumeclaims")["items"]:
            self.assertEqual(claim["status"]["phase"], "Bound", claim["metadata"]["name"])
        nodes = {pod["spec"]["nodeName"] for pod in self.get(
            "pods", "--selector", "app.kubernetes.io/component=worker")["items"]}
        self.assertEqual(len(nodes), 2, "workers are spread")

        def endpoints(service):
            slices = self.get("endpointslices", "--selector", f"kubernetes.io/service-name={service}")
            return sum(len(one.get("endpoints") or ()) for one in slices["items"])

        self.plane.wait_until(lambda: endpoints("millrace-coordinator") == 1)
        self.plane.wait_until(lambda: endpoints("millrace-worker") == 2)

    def test_2_workers_scale_and_keep_their_names(self):
        before = self.workers()
        self.kubectl("scale", "statefulset/millrace-worker", "--replicas=4")
        self.kubectl("rollout", "status", "statefulset/millrace-worker", "--timeout=90s")
        self.assertEqual(set(self.workers()), {f"millrace-worker-{n}" for n in range(4)})
        self.kubectl("scale", "statefulset/millrace-worker", "--replicas=2")
        self.plane.wait_until(lambda: self.workers() == before)

    def test_3_a_rolling_restart_replaces_every_pod(self):
        before = self.workers()
        self.kubectl("rollout", "restart", "statefulset/millrace-worker")
        self.kubectl("rollout", "status", "statefulset/millrace-worker", "--timeout=90s")
        after = self.workers()
        self.assertEqual(set(after), set(before))
        self.assertFalse(set(after.values()) & set(before.values()))

    def evict(self, pod):
        self.plane.kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction",
                           "-f", "-", text=json.dumps({
                               "apiVersion": "policy/v1", "kind": "Eviction",
                               "metadata": {"name": pod, "namespace": NAMESPACE}}))

    def test_4_one_worker_at_a_time_is_evicted(self):
        nodes = [node["metadata"]["name"] for node in self.get("nodes")["items"]]
        for node in nodes:
            self.kubectl("cordon", node)  # So that the first one finds no new place.
        try:
            self.plane.wait_until(lambda: self.get("poddisruptionbudget", "millrace-worker")["status"]
                                  ["disruptionsAllowed"] == 1)
            self.evict("millrace-worker-0")
            self.plane.wait_until(lambda: self.get("poddisruptionbudget", "millrace-worker")["status"]
                                  ["disruptionsAllowed"] == 0)
            with self.assertRaisesRegex(RuntimeError, "disruption budget"):
                self.evict("millrace-worker-1")
        finally:
            for node in nodes:
                self.kubectl("uncordon", node)
        self.kubectl("rollout", "status", "statefulset/millrace-worker", "--timeout=90s")

    def can(self, who, *what):
        return self.kubectl("auth", "can-i", *who, *what, check=False).stdout.strip() == "yes"

    def test_5_nobody_may_more_than_needed(self):
        account = ["--as", f"system:serviceaccount:{NAMESPACE}:millrace"]
        for what in (["get", "secrets"], ["list", "pods"], ["create", "pods"], ["get", "configmaps"]):
            self.assertFalse(self.can(account, *what), what)
        engineer = ["--as", "ann", "--as-group", "data-engineers"]
        self.assertFalse(self.can(engineer, "create", "pods", "--subresource=portforward"))
        self.release("upgrade", "--set", "rbac.clients[0].kind=Group", "--set",
                     "rbac.clients[0].name=data-engineers")
        self.plane.wait_until(lambda: self.can(engineer, "create", "pods", "--subresource=portforward"))
        self.assertTrue(self.can(engineer, "get", "service/millrace-coordinator"))
        for what in (["get", "secrets"], ["delete", "pods"], ["create", "pods", "--subresource=exec"],
                     ["get", "service/other"], ["patch", "statefulset/millrace-worker"]):
            self.assertFalse(self.can(engineer, *what), what)

    def test_6_an_upgrade_changes_what_it_says(self):
        self.release("upgrade", "--set", "worker.stateMemoryMb=2048", "--set",
                     "worker.replicas=3", "--set", "coordinator.extraArgs[0]=--log-format=text")
        arguments = self.get("statefulset", "millrace-worker")["spec"]["template"]["spec"][
            "containers"][0]["args"]
        self.assertIn("--memory-mb=2048", arguments)
        self.assertEqual(len(self.workers()), 3)
        self.plane.helm("rollback", "millrace", "1", "--namespace", NAMESPACE, "--wait",
                        "--timeout", "120s")
        self.plane.wait_until(lambda: len(self.workers()) == 2)

    def test_7_a_job_is_submitted_by_a_manifest(self):
        text = (ROOT / "docs" / "kubernetes.md").read_text()
        (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
                    if "kind: Job" in block]
        self.plane.kubectl("--namespace", NAMESPACE, "apply", "-f", "-", text=block)
        self.kubectl("wait", "--for=condition=complete", "job/submit-hourly-totals", "--timeout=60s")

    def test_8_plain_manifests_are_admitted(self):
        self.plane.kubectl("create", "namespace", "plain")
        done = self.plane.kubectl("--namespace", "plain", "apply", "--dry-run=server", "-k",
                                  ROOT / "deploy" / "kustomize" / "one-node")
        self.assertIn("statefulset.apps/millrace-worker created", done.stdout)

    def test_9_what_was_stored_survives_the_release(self):
        self.plane.helm("uninstall", "millrace", "--namespace", NAMESPACE, "--wait")
        self.plane.wait_until(lambda: not self.get("pods", "--selector",
                                                   "app.kubernetes.io/instance=millrace")["items"])
        claims = {claim["metadata"]["name"] for claim in self.get("persistentvolumeclaims")["items"]}
        self.assertEqual(claims, {"millrace-coordinator", "millrace-checkpoints"})
        self.release("install", "--take-ownership")


if __name__ == "__main__":
    if not is_built():
        print(f"skipped: no control plane in {FOLDER}; `dev/test --kubernetes` builds it once")
        sys.exit(SKIPPED)
    unittest.main()
