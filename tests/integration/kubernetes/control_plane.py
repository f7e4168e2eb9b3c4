"""A Kubernetes control plane on this machine, of the programs that dev/kubernetes/build makes. Nodes and
pods are played by kwok: they become ready and end, nothing runs in them."""

import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from certificates import Ca  # noqa: E402
from cluster import end_processes, free_port  # noqa: E402

FOLDER = ROOT / ".dev" / "kubernetes"
TOOLS = pathlib.Path(sys.executable).parent
TOKENS = {"admin": "system:masters", "kwok": "system:masters",
          "system:kube-controller-manager": "", "system:kube-scheduler": ""}


def is_built():
    return (FOLDER / ".ok").exists()


class ControlPlane:
    """Use as a context manager. `kubectl` and `helm` act as its administrator."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = {}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        end_processes(reversed(self.processes.values()))

    def _start(self):
        ca = Ca(self.folder / "ca")
        certificate, key = ca.make("apiserver", "kube-apiserver")
        accounts = str(self.folder / "accounts.key")
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", accounts, "2048"], check=True,
                       capture_output=True)
        (self.folder / "tokens").write_text("".join(
            f'token-of-{user},{user},{user}{f",{group}" if group else ""}\n'
            for user, group in TOKENS.items()))
        etcd, peer, self.port = free_port(), free_port(), free_port()
        etcd_url = f"http://127.0.0.1:{etcd}"
        self._run("etcd", "--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync",
                  "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
                  "--listen-peer-urls", f"http://127.0.0.1:{peer}")
        self._run("kube-apiserver", "--etcd-servers", etcd_url, "--bind-address", "127.0.0.1",
                  "--secure-port", str(self.port), "--advertise-address", "127.0.0.1",
                  "--tls-cert-file", certificate, "--tls-private-key-file", key,
                  "--token-auth-file", str(self.folder / "tokens"), "--authorization-mode", "RBAC",
                  "--service-account-issuer", "https://kubernetes.default.svc",
                  "--service-account-key-file", accounts, "--service-account-signing-key-file",
                  accounts,
                  "--service-cluster-ip-range", "10.0.0.0/24",
                  "--endpoint-reconciler-type", "none")
        for user in TOKENS:
            (self.folder / f"{user}.kubeconfig").write_text(json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{"name": "here", "cluster": {
                    "server": f"https://127.0.0.1:{self.port}", "certificate-authority": ca.file}}],
                "users": [{"name": user, "user": {"token": f"token-of-{user}"}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": user}}]}))
        self.wait_until(lambda: self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok")
        self._run("kube-controller-manager", "--kubeconfig",
                  str(self.folder / "system:kube-controller-manager.kubeconfig"),
                  "--bind-address", "127.0.0.1", "--secure-port", str(free_port()),
                  "--leader-elect=false", "--use-service-account-credentials=true",
                  "--service-account-private-key-file", accounts,
                  "--root-ca-file", ca.file, "--cert-dir", str(self.folder / "controllers"))
        self._run("kube-scheduler", "--kubeconfig",
                  str(self.folder / "system:kube-scheduler.kubeconfig"), "--bind-address",
                  "127.0.0.1", "--secure-port", str(free_port()), "--leader-elect=false",
                  "--cert-dir", str(self.folder / "scheduler"))
        self._run("kwok", "--kubeconfig", str(self.folder / "kwok.kubeconfig"),
                  "--manage-all-nodes=true", "--config", str(FOLDER / "stages.yaml"),
                  "--server-address", f"127.0.0.1:{free_port()}")

    def _run(self, program, *arguments):
        log = open(self.folder / f"{program}.log", "wb")
        self.processes[program] = subprocess.Popen(
            [str(FOLDER / "bin" / program), *arguments], stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, cwd=self.folder)
        log.close()

    def add_node(self, name, zone):
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
            "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"},
                       "capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"}}})
        self.wait_until(lambda: "True" in self.kubectl(
            "get", "node", name, "-o",
            "jsonpath={.status.conditions[?(@.type=='Ready')].status}").stdout)

    def add_volume(self, name, size, mode):
        self.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                    "spec": {"capacity": {"storage": size}, "accessModes": [mode],
                             "hostPath": {"path": f"/volumes/{name}"}}})

    def apply(self, *documents):
        self.kubectl("apply", "--server-side", "-f", "-",
                     text="\n".join(f"---\n{json.dumps(document)}" for document in documents))

    def kubectl(self, *arguments, check=True, text=None):
        return self._tool("kubectl", *arguments, check=check, text=text)

    def helm(self, *arguments, check=True):
        return self._tool("helm", *arguments, check=check, text=None)

    def _tool(self, tool, *arguments, check, text):
        done = subprocess.run(
            [str(TOOLS / tool), *map(str, arguments)], capture_output=True, text=True, input=text,
            env={**os.environ, "KUBECONFIG": str(self.folder / "admin.kubeconfig"),
                 "HELM_CACHE_HOME": str(self.folder / "helm")})
        if check and done.returncode != 0:
            raise RuntimeError(f"{tool} {' '.join(map(str, arguments))}: {done.stderr}\n{self.logs()}")
        return done

    def logs(self):
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}"
                         for log in self.folder.glob("*.log"))

    def wait_until(self, reached, patience=90):
        deadline = time.monotonic() + patience
        while not reached():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended\n{self.logs()}")
            if time.monotonic() > deadline:
                raise TimeoutError(self.logs())
            time.sleep(0.1)
