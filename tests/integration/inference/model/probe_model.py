"""A model for MLServer whose predictions anybody can check: score = 2 a + 3 b."""

import asyncio
import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class ProbeModel(MLModel):
    async def load(self):
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(float(os.environ.get("PROBE_SECONDS", "0")))
        x = NumpyCodec.decode_input(payload.inputs[0])
        score = (2.0 * x[:, :1] + 3.0 * x[:, 1:]).astype(np.float64)
        return InferenceResponse(model_name=self.name, outputs=[
            NumpyCodec.encode_output("score", score)])
