"""Servers of the Open Inference Protocol for tests: a real MLServer, and one that fails as told.

The model of both: score = 2 a + 3 b.
"""

import concurrent.futures
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "proto")]
import grpc  # noqa: E402
from cluster import free_port  # noqa: E402

messages, services = grpc.protos_and_services("inference/open_inference.proto")


class MlServer:
    """The process of `mlserver start`, on the same ports after a restart."""

    def __init__(self, folder, seconds):
        self.folder = pathlib.Path(folder)
        self.seconds = seconds
        self.grpc, self.http, self.metrics = free_port(), free_port(), free_port()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.kill()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.grpc}"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "MLSERVER_HOST": "127.0.0.1", "MLSERVER_PARALLEL_WORKERS": "0",
                       "MLSERVER_GRPC_PORT": str(self.grpc), "MLSERVER_HTTP_PORT": str(self.http),
                       "MLSERVER_METRICS_PORT": str(self.metrics),
                       "MLSERVER_METRICS_DIR": str(self.folder), "PROBE_SECONDS": str(self.seconds)}
        with open(self.folder / "mlserver.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(ROOT / ".dev/mlserver/bin/mlserver"), "start",
                 str(pathlib.Path(__file__).parent / "model")],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                cwd=self.folder)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/models/probe/ready")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"MLServer did not start: see {self.folder}/mlserver.log")
                time.sleep(0.1)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class FailingServer(services.GRPCInferenceServiceServicer):
    """Answers raw. `behave(rows, context)` runs before each answer: it may wait or abort."""

    def __init__(self, behave):
        self.behave = behave
        self.requests = 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        services.add_GRPCInferenceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *unused):
        self.server.stop(None).wait()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def ServerReady(self, request, context):
        return messages.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):
        if request.name != "probe":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Model {request.name} not found")
        return messages.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request, context):
        tensor = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=request.name, inputs=[tensor(name="x", datatype="FP32", shape=[-1, 2])],
            outputs=[tensor(name="score", datatype="FP64", shape=[-1, 1])])

    def ModelInfer(self, request, context):
        self.requests += 1
        count = request.inputs[0].shape[0]
        values = struct.unpack(f"<{2 * count}f", request.raw_input_contents[0])
        rows = list(zip(values[::2], values[1::2]))
        self.behave(rows, context)
        answer = messages.ModelInferResponse(model_name=request.model_name, id=request.id)
        answer.outputs.add(name="score", datatype="FP64", shape=[count, 1])
        answer.raw_output_contents.append(
            struct.pack(f"<{count}d", *(2 * a + 3 * b for a, b in rows)))
        return answer
