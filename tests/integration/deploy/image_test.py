"""The file system of the image, made in a folder by the script that makes it in the image, and both roles
run from it: as another user, who may write to /tmp and /var/lib/millrace only."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster, free_port  # noqa: E402

# With MILLRACE_UPDATE_GOLDEN=1 it is written anew.
FILES = pathlib.Path(__file__).with_name("image_files.txt")
USER = 65532
JOB = """
name: image
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {number-of-rows: 1000, fields.n.kind: sequence, fields.n.start: 1}
    schema: [n BIGINT]
  - {uid: out, inputs: [numbers], sink: {connector: file, format: json, options: {path: /var/lib/millrace/out}}}
"""


def can_change_root():
    return subprocess.run(CHANGE_ROOT + ["/", "/bin/true"], capture_output=True).returncode == 0


# What a container has, too: /proc, in a mount namespace that goes with the process.
ENTER = 'mount --rbind /proc "$0/proc" && exec chroot {flags} "$0" "$@"'
if os.geteuid() == 0:
    CHANGE_ROOT = ["unshare", "--mount", "sh", "-c",
                   ENTER.format(flags=f"--userspec={USER}:{USER}")]
else:  # Our own user, as root of a namespace, which may write where that user may.
    CHANGE_ROOT = ["unshare", "--map-root-user", "--mount", "sh", "-c", ENTER.format(flags="")]


class ImageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="millrace-image-")
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name) / "root"
        done = subprocess.run([str(ROOT / "deploy/docker/make-root"), str(BUILD), str(cls.root)],
                              check=True, capture_output=True, text=True)
        cls.files = done.stdout

    def test_it_holds_what_is_needed_and_nothing_else(self):
        if os.environ.get("MILLRACE_UPDATE_GOLDEN"):
            FILES.write_text(self.files)
        self.assertEqual(self.files, FILES.read_text())

    def test_no_program_can_be_changed_by_its_user(self):
        for path in self.root.rglob("*"):
            if path.is_symlink() or self.root / "tmp" in (path, *path.parents) or \
                    self.root / "var/lib/millrace" in (path, *path.parents):
                continue
            about = path.stat()
            self.assertEqual(about.st_mode & 0o022, 0, path)
            self.assertEqual(about.st_uid, os.geteuid(), path)

    def test_both_roles_and_the_command_run_from_it(self):
        if not can_change_root():
            self.skipTest("neither root nor allowed to make a namespace")
        grpc, http, data, worker_http = (free_port() for _ in range(4))
        (self.root / "tmp/job.yaml").write_text(JOB)
        address = f"127.0.0.1:{grpc}"
        processes = []

        def start(name, *arguments):
            log = open(self.root / "tmp" / f"{name}.log", "wb")
            self.addCleanup(log.close)
            processes.append(subprocess.Popen([*CHANGE_ROOT, str(self.root), f"/usr/bin/{name}",
                                               *arguments], stdout=log, stderr=log))

        def command(*arguments):
            return subprocess.run([*CHANGE_ROOT, str(self.root), "/usr/bin/millrace",
                                   "--coordinator", address, *arguments], capture_output=True,
                                  text=True, timeout=90)

        try:
            start("millrace-coordinator", "--data-dir", "/var/lib/millrace/coordinator",
                  "--grpc-port", str(grpc), "--http-port", str(http))
            start("millrace-worker", "--coordinator", address, "--data-dir",
                  "/var/lib/millrace/worker", "--data-port", str(data), "--http-port",
                  str(worker_http), "--memory-mb", "64", "--cores", "1")
            Cluster.wait_for_port(grpc)
            deadline = time.monotonic() + 30
            while not command("get", "workers", "-o", "name").stdout:
                self.assertLess(time.monotonic(), deadline, self.logs())
                time.sleep(0.1)
            submitted = command("submit", "/tmp/job.yaml")
            self.assertEqual(submitted.returncode, 0, submitted.stderr + self.logs())
            waited = command("wait", submitted.stdout.strip(), "--timeout", "60")
            self.assertEqual(waited.returncode, 0, waited.stderr + self.logs())
        finally:
            for process in reversed(processes):
                process.terminate()
            codes = [process.wait(30) for process in processes]
        self.assertEqual(codes, [0, 0], self.logs())
        rows = [json.loads(line)["n"]
                for part in (self.root / "var/lib/millrace/out").glob("part-*")
                for line in part.read_text().splitlines()]
        self.assertEqual(sorted(rows), list(range(1, 1001)))

    def logs(self):
        return "\n".join(log.read_text() for log in (self.root / "tmp").glob("*.log"))


if __name__ == "__main__":
    unittest.main()
