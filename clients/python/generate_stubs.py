"""Generates the package millrace.v1 from proto/millrace/v1.

    python generate_stubs.py FOLDER     writes FOLDER/millrace/v1/*

Needs grpcio-tools. The files are made when the package is built and before its tests run; they are
not kept in the repository.
"""

import pathlib
import sys

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
# What a client needs; the rest of the folder is between coordinator and workers.
FILES = ("graph", "checkpoint", "job_service")


def generate(folder):
    """Writes messages, stubs and their type hints below `folder`; RuntimeError if protoc fails."""
    from grpc_tools import protoc

    folder = pathlib.Path(folder)
    package = folder / "millrace" / "v1"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text('"""Messages and stubs of millrace.v1, generated."""\n')
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={folder}",
                 f"--pyi_out={folder}", f"--grpc_python_out={folder}",
                 *(str(PROTO / "millrace" / "v1" / f"{name}.proto") for name in FILES)]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc failed: {' '.join(arguments)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    generate(sys.argv[1])
