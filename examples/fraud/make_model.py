"""Makes the model and the data of examples/fraud_scoring.yaml: a small model of XGBoost on invented
payments, 40 further payments, and what XGBoost says of them.

    python3 -m venv V && V/bin/pip install -r ../../tests/unit/inference/models/requirements.txt
    V/bin/python make_model.py
"""

import json
import pathlib

import numpy
import xgboost

HERE = pathlib.Path(__file__).parent
rng = numpy.random.default_rng(11)
count = 4000
amount = numpy.round(rng.lognormal(3.5, 1.1, count), 2)
hour = rng.integers(0, 24, count)
distance = numpy.round(rng.exponential(20, count), 1)
age = rng.integers(1, 2000, count)
risk = (amount > 120) * 1.5 + ((hour < 6) * 1.0) + (distance > 60) * 1.2 + (age < 90) * 0.8 - 2.6
fraud = rng.random(count) < 1 / (1 + numpy.exp(-3 * risk))
table = numpy.stack([amount, hour, distance, age], axis=1).astype(numpy.float32)
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 4, "eta": 0.5, "nthread": 1},
                        xgboost.DMatrix(table[:-40], label=fraud[:-40]), 10)
booster.save_model(HERE / "fraud.json")
scores = booster.predict(xgboost.DMatrix(table[-40:]))
lines, expected = [], []
for i, score in enumerate(scores):
    at = count - 40 + i
    lines.append({"id": i, "amount": float(amount[at]), "hour": int(hour[at]),
                  "distance_km": float(distance[at]), "account_days": int(age[at])})
    expected.append({"id": i, "fraud_score": float(score)})
lines[7]["amount"] = None  # A payment that cannot be scored.
del expected[7]
write = lambda name, rows: (HERE / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
write("payments.jsonl", lines)
write("expected.jsonl", expected)
edges = [float(e) for e in numpy.quantile(amount[:-40], [0.2, 0.4, 0.6, 0.8])]
print("baseline of amount:", [round(e, 2) for e in edges])
