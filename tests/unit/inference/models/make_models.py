"""Trains the small models of this folder and writes what their own libraries predict.

    python3 -m venv V && V/bin/pip install -r requirements.txt && V/bin/python make_models.py

NAME.json, .txt or .onnx is a model; NAME.csv has one line per row: the features (float32), a
semicolon, the predictions of the library that trained it, a semicolon, those of ONNX Runtime.
Numbers are exact: repr of the float32 or float64. Rows 150 and later have missing values (nan)
where the model knows them.
"""

import json
import pathlib

import lightgbm
import numpy
import onnx
import onnxruntime
import skl2onnx
import xgboost
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (GradientBoostingClassifier, GradientBoostingRegressor,
                              RandomForestClassifier, RandomForestRegressor)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = pathlib.Path(__file__).parent
ROWS, FEATURES = 200, 6
rng = numpy.random.default_rng(7)


def data(missing):
    x = rng.normal(size=(ROWS + 1000, FEATURES)).astype(numpy.float32)
    x[:, 5] = numpy.round(x[:, 5])  # Ties with thresholds, and zeros.
    if missing:
        x[150:200][rng.random((50, FEATURES)) < 0.3] = numpy.nan
        x[300:600][rng.random((300, FEATURES)) < 0.2] = numpy.nan
    filled = numpy.nan_to_num(x, nan=0.3)
    signal = filled[:, 0] * filled[:, 1] + numpy.sin(2 * filled[:, 2]) + 0.3 * filled[:, 5]
    return x, signal + rng.normal(scale=0.2, size=len(x))


def classes(signal, count):
    return numpy.searchsorted(numpy.quantile(signal, numpy.arange(1, count) / count), signal)


def number(value):
    if isinstance(value, (str, numpy.str_)):
        return str(value)
    if isinstance(value, (numpy.integer, int)):
        return str(int(value))
    return "nan" if numpy.isnan(value) else repr(value.item() if isinstance(value, numpy.float64)
                                                 else float(str(value)))


def write(name, features, own, runtime=None):
    lines = []
    for row in range(ROWS):
        cells = [features[row], numpy.atleast_1d(own[row])]
        cells.append([] if runtime is None else runtime[row])
        lines.append(";".join(",".join(number(v) for v in part) for part in cells))
    (HERE / f"{name}.csv").write_text("\n".join(lines) + "\n")


def make_xgboost(name, objective, missing, y_of, rounds=15, **parameters):
    x, signal = data(missing)
    train = xgboost.DMatrix(x[200:], label=y_of(signal)[200:])
    booster = xgboost.train({"objective": objective, "max_depth": 5, "seed": 1, "nthread": 1,
                             **parameters}, train, rounds)
    booster.save_model(HERE / f"{name}.json")
    write(name, x, booster.predict(xgboost.DMatrix(x[:ROWS])))


def make_lightgbm(name, missing, y_of, **parameters):
    x, signal = data(missing)
    booster = lightgbm.train({"num_leaves": 12, "seed": 1, "num_threads": 1, "verbose": -1,
                              "deterministic": True, **parameters},
                             lightgbm.Dataset(x[200:].astype(numpy.float64),
                                              label=y_of(signal)[200:]), 15)
    booster.save_model(HERE / f"{name}.txt")
    write(name, x, booster.predict(x[:ROWS].astype(numpy.float64)))


def run_onnx(path, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, inputs)
    return [numpy.concatenate([numpy.atleast_1d(o[row]) .astype(object) for o in outputs])
            for row in range(ROWS)]


def make_onnx(name, model, y_of):
    x, signal = data(False)
    model.fit(x[200:], y_of(signal)[200:])
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    graph = skl2onnx.to_onnx(model, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    path = HERE / f"{name}.onnx"
    path.write_bytes(graph.SerializeToString())
    own = model.predict_proba(x[:ROWS]) if options else model.predict(x[:ROWS])
    write(name, x, own, run_onnx(path, {"X": x[:ROWS]}))


def make_missing_onnx(name, of):
    """Another model, with a missing value going to the true branch at every second node."""
    x, _ = data(True)
    graph = onnx.load(HERE / f"{of}.onnx")
    for attribute in graph.graph.node[0].attribute:
        if attribute.name == "nodes_missing_value_tracks_true":
            values = [i % 2 for i in range(len(attribute.ints))]
            del attribute.ints[:]
            attribute.ints.extend(values)
    path = HERE / f"{name}.onnx"
    path.write_bytes(graph.SerializeToString())
    predictions = run_onnx(path, {"X": x[:ROWS]})
    write(name, x, predictions, predictions)


def make_mixed_onnx(name):
    """Inputs of three types: a float, a whole number and a text."""
    x, signal = data(False)
    color = numpy.array(["red", "green", "blue"])[rng.integers(0, 3, len(x))]
    size = rng.integers(0, 5, len(x))
    table = numpy.empty((len(x), 3), dtype=object)
    table[:, 0], table[:, 1], table[:, 2] = x[:, 0], size, color
    signal = x[:, 0] + size * 0.3 + (color == "red")
    model = make_pipeline(
        ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(), [2])]),
        LogisticRegression())
    model.fit(table[200:], classes(signal, 2)[200:])
    graph = skl2onnx.to_onnx(
        model, initial_types=[("amount", FloatTensorType([None, 1])),
                              ("size", Int64TensorType([None, 1])),
                              ("color", StringTensorType([None, 1]))],
        options={id(model): {"zipmap": False}}, target_opset={"": 17, "ai.onnx.ml": 3})
    path = HERE / f"{name}.onnx"
    path.write_bytes(graph.SerializeToString())
    write(name, table, model.predict_proba(table[:ROWS]),
          run_onnx(path, {"amount": x[:ROWS, :1], "size": size[:ROWS].reshape(-1, 1),
                          "color": color[:ROWS].reshape(-1, 1).astype(object)}))


def make_linear(name):
    x, signal = data(False)
    model = LogisticRegression().fit(x[200:], classes(signal, 3)[200:])
    (HERE / f"{name}.json").write_text(json.dumps(
        {"coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist(),
         "link": "softmax"}, indent=1))
    write(name, x, model.predict_proba(x[:ROWS].astype(numpy.float64)))


def same(signal):
    return signal


make_xgboost("xgboost_binary", "binary:logistic", True, lambda s: s > 0)
make_xgboost("xgboost_margin", "binary:logitraw", True, lambda s: s > 0.5)
make_xgboost("xgboost_regression", "reg:squarederror", False, same)
make_xgboost("xgboost_poisson", "count:poisson", True, lambda s: classes(s, 4))
make_xgboost("xgboost_multiclass", "multi:softprob", True, lambda s: classes(s, 3), num_class=3,
             rounds=5)
make_xgboost("xgboost_forest", "reg:squarederror", False, same, rounds=4, num_parallel_tree=3,
             subsample=0.7)
make_lightgbm("lightgbm_binary", True, lambda s: s > 0, objective="binary")
make_lightgbm("lightgbm_regression", False, same, objective="regression")
make_lightgbm("lightgbm_zero", True, same, objective="regression", zero_as_missing=True)
make_lightgbm("lightgbm_multiclass", True, lambda s: classes(s, 3), objective="multiclass",
              num_class=3)
make_lightgbm("lightgbm_poisson", False, lambda s: classes(s, 4), objective="poisson")
make_lightgbm("lightgbm_forest", False, same, objective="regression", boosting="rf",
              bagging_fraction=0.6, bagging_freq=1)
make_onnx("forest_classifier", RandomForestClassifier(8, max_depth=11, random_state=1),
          lambda s: classes(s, 3))
make_onnx("forest_regressor", RandomForestRegressor(8, max_depth=7, random_state=1), same)
make_onnx("forest_binary", RandomForestClassifier(6, max_depth=5, random_state=1),
          lambda s: classes(s, 2))
make_onnx("boosted_binary", GradientBoostingClassifier(n_estimators=15, random_state=1),
          lambda s: classes(s, 2))
make_onnx("boosted_multiclass", GradientBoostingClassifier(n_estimators=6, random_state=1),
          lambda s: classes(s, 3))
make_onnx("boosted_regressor", GradientBoostingRegressor(n_estimators=15, random_state=1), same)
make_missing_onnx("boosted_missing", "boosted_regressor")
make_onnx("logistic_binary", LogisticRegression(), lambda s: classes(s, 2))
make_onnx("logistic_multiclass", LogisticRegression(), lambda s: classes(s, 3))
make_onnx("linear_regression", LinearRegression(), same)
make_onnx("scaled_network", make_pipeline(
    StandardScaler(), MLPRegressor(hidden_layer_sizes=(16, 8), random_state=1, max_iter=50)), same)
make_onnx("network_classifier", MLPClassifier(hidden_layer_sizes=(12,), random_state=1,
                                              max_iter=50), lambda s: classes(s, 3))
make_mixed_onnx("mixed_inputs")
make_linear("linear_softmax")

# Small ones to begin with for tests/fuzz/models_fuzz.cc.
SEEDS = HERE.parents[2] / "fuzz/corpus/models"
x, signal = data(True)
xgboost.train({"objective": "multi:softprob", "num_class": 3, "max_depth": 2, "nthread": 1},
              xgboost.DMatrix(x[200:], label=classes(signal, 3)[200:]), 1).save_model(
                  SEEDS / "xgboost.json")
lightgbm.train({"num_leaves": 4, "verbose": -1, "num_threads": 1},
               lightgbm.Dataset(x[200:].astype(numpy.float64), label=signal[200:]), 2).save_model(
                   SEEDS / "lightgbm.txt")
text = (SEEDS / "lightgbm.txt").read_text()
(SEEDS / "lightgbm.txt").write_text(text[:text.index("end of trees")] + "end of trees\n")
for seed in ("linear_softmax.json", "logistic_multiclass.onnx"):
    (SEEDS / seed).write_bytes((HERE / seed).read_bytes())
for seed, model in (("boosted_small.onnx", GradientBoostingClassifier(n_estimators=2, max_depth=2)),
                    ("forest_small.onnx", RandomForestClassifier(2, max_depth=3))):
    model.fit(numpy.nan_to_num(x[200:300]), classes(signal, 2)[200:300])
    (SEEDS / seed).write_bytes(skl2onnx.to_onnx(
        model, x[:1], options={id(model): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
