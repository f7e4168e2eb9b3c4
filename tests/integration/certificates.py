"""Certificates for tests, by the openssl command."""

import pathlib
import subprocess


class Ca:
    """A CA, and what it signs, in `folder`. Certificates are good for 127.0.0.1 and localhost."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj",
                      "/CN=test CA")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")

    @property
    def file(self):
        return str(self.folder / "ca.pem")

    def make(self, file, name):
        """FILE.pem and FILE.key, put in place at once; the paths of both."""
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-keyout", "new.key", "-out", "new.csr", "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", "new.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "1", "-extfile", "names", "-out", "new.pem")
        paths = []
        for end in ("pem", "key"):
            path = self.folder / f"{file}.{end}"
            (self.folder / f"new.{end}").rename(path)
            paths.append(str(path))
        return paths

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")
