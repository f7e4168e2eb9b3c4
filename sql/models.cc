#include "sql/models.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/base/digests.h"
#include "runtime/base/env.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kVersionBytesMax = 128;
constexpr int kBinsMax = 1000;

bool IsModelName(std::string_view name) {
  if (name.empty() || name.size() > 128) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

bool IsDigest(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

class ModelCompiler {
 public:
  ModelCompiler(int index, v1::Model& model, Diagnostics& diagnostics)
      : path_(Concat("models[", index, "]")), model_(model), diagnostics_(diagnostics) {}

  void Run(std::set<std::string>& names) {
    CheckName(names);
    CheckTensors("inputs", *model_.mutable_inputs());
    CheckTensors("outputs", *model_.mutable_outputs());
    if (model_.has_local()) {
      CheckLocal(*model_.mutable_local());
    } else if (model_.has_remote()) {
      CheckRemote(*model_.mutable_remote());
    } else {
      Error("MR1502", "", Concat("model '", model_.name(), "' has neither a file nor a server"),
            "give it one of: local, remote");
    }
    for (int i = 0; i < model_.baselines_size(); ++i) CheckBaseline(i);
    if (model_.drift_rows() == 0) model_.set_drift_rows(10'000);
    if (model_.drift_rows_min() == 0) model_.set_drift_rows_min(1000);
    if (model_.drift_rows_min() > model_.drift_rows()) {
      Error("MR1508", ".drift_rows_min", "drift_rows_min is greater than drift_rows");
    }
  }

 private:
  void Error(std::string code, const std::string& at, std::string message, std::string hint = "") {
    diagnostics_.Error(std::move(code), "", path_ + at, std::move(message), std::move(hint));
  }

  void CheckName(std::set<std::string>& names) {
    if (!IsModelName(model_.name())) {
      Error("MR1501", ".name", Concat("'", model_.name(), "' is not a name of a model"),
            "a name has 1 to 128 of the characters a-z 0-9 . _ -");
    } else if (!names.insert(model_.name()).second) {
      Error("MR1501", ".name", Concat("two models are called '", model_.name(), "'"));
    }
    if (model_.version().empty()) model_.set_version("1");
    if (model_.version().size() > kVersionBytesMax) {
      Error("MR1501", ".version", "the version is longer than 128 bytes");
    }
  }

  void CheckTensors(const char* field, google::protobuf::RepeatedPtrField<v1::Tensor>& tensors) {
    if (tensors.empty()) {
      Error("MR1503", Concat(".", field), Concat("model '", model_.name(), "' declares no ", field),
            Concat("write for example ", field, ": features FLOAT[20]"));
    }
    std::set<std::string> names;
    uint64_t values = 0;
    for (int i = 0; i < tensors.size(); ++i) {
      v1::Tensor& tensor = *tensors.Mutable(i);
      const std::string at = Concat(".", field, "[", i, "]");
      if (tensor.name().empty() || tensor.name().size() > 256) {
        Error("MR1503", at, "a tensor needs a name of 1 to 256 bytes");
      } else if (!names.insert(tensor.name()).second) {
        Error("MR1503", at, Concat("two ", field, " are called '", tensor.name(), "'"));
      }
      if (tensor.type() == v1::Tensor::TYPE_UNSPECIFIED) {
        Error("MR1503", at, Concat("tensor '", tensor.name(), "' has no type"),
              "types of tensors: FLOAT, DOUBLE, INT, BIGINT, BOOLEAN, STRING");
      }
      if (tensor.width() == 0) tensor.set_width(1);
      values += tensor.width();
    }
    if (values > kModelValuesMax) {
      Error("MR1503", Concat(".", field), Concat("more than ", kModelValuesMax, " values per row"));
    }
  }

  void CheckLocal(v1::LocalModel& local) {
    if (local.format() == v1::LocalModel::FORMAT_UNSPECIFIED) {
      Error("MR1502", ".local", "the format of the file is missing",
            "give one of: onnx, xgboost-json, lightgbm-text, linear-json");
    }
    if (local.path().empty()) Error("MR1502", ".local", "the path of the file is missing");
    if (!local.sha256().empty() && !IsDigest(local.sha256())) {
      Error("MR1504", ".local.sha256", "a SHA-256 digest has 64 digits 0-9 a-f",
            "sha256sum FILE prints it");
    }
    if (local.size_bytes_max() == 0) local.set_size_bytes_max(kModelBytesDefault);
    if (local.size_bytes_max() > kModelBytesMax) {
      Error("MR1506", ".local.size_bytes_max",
            Concat("a model may have ", kModelBytesMax, " bytes"));
    }
  }

  void CheckRemote(v1::RemoteModel& remote) {
    const std::string& endpoint = remote.endpoint();
    const size_t colon = endpoint.rfind(':');
    uint32_t port = 0;
    if (colon == std::string::npos || colon == 0 ||
        !ParseNumber(std::string_view(endpoint).substr(colon + 1), port) || port == 0 ||
        port > 65'535) {
      Error("MR1502", ".remote.endpoint", Concat("'", endpoint, "' is not HOST:PORT"));
    }
    if (remote.protocol() == v1::RemoteModel::PROTOCOL_UNSPECIFIED) {
      remote.set_protocol(v1::RemoteModel::PROTOCOL_OPEN_INFERENCE_V2);
    }
    if (remote.server_model().empty()) remote.set_server_model(model_.name());
    v1::RemoteCalls& calls = *remote.mutable_calls();
    const auto limit = [&](uint32_t value, uint32_t otherwise, uint32_t max, const char* name) {
      if (value > max) {
        Error("MR1509", Concat(".remote.calls.", name), Concat(name, " is at most ", max));
      }
      return value == 0 ? otherwise : value;
    };
    calls.set_batch_rows_max(limit(calls.batch_rows_max(), 256, 4096, "batch_rows_max"));
    calls.set_batch_age_ms(limit(calls.batch_age_ms(), 10, 60'000, "batch_age_ms"));
    calls.set_in_flight_max(limit(calls.in_flight_max(), 8, 1024, "in_flight_max"));
    calls.set_timeout_ms(limit(calls.timeout_ms(), 30'000, 3'600'000, "timeout_ms"));
    calls.set_breaker_calls_min(limit(calls.breaker_calls_min(), 10, 10'000, "breaker_calls_min"));
    calls.set_breaker_open_ms(limit(calls.breaker_open_ms(), 60'000, 3'600'000, "breaker_open_ms"));
  }

  void CheckBaseline(int index) {
    const v1::Baseline& baseline = model_.baselines(index);
    const std::string at = Concat(".baselines[", index, "]");
    const auto wrong = [&](std::string message) {
      Error("MR1508", at, std::move(message),
            "n ascending edges cut n + 1 bins, whose fractions add up to 1");
    };
    if (baseline.column().empty()) return wrong("a baseline needs the name of its column");
    if (baseline.edges_size() == 0 || baseline.edges_size() >= kBinsMax) {
      return wrong(Concat("a baseline has 1 to ", kBinsMax - 1, " edges"));
    }
    if (baseline.fractions_size() != baseline.edges_size() + 1) {
      return wrong(Concat(baseline.edges_size(), " edges and ", baseline.fractions_size(),
                          " fractions do not fit"));
    }
    double sum = 0;
    for (int i = 0; i < baseline.fractions_size(); ++i) {
      if (!(baseline.fractions(i) >= 0)) return wrong("a fraction is negative");
      sum += baseline.fractions(i);
    }
    if (!(std::abs(sum - 1) < 1e-3)) return wrong("the fractions do not add up to 1");
    for (int i = 0; i < baseline.edges_size(); ++i) {
      const bool ascends = i == 0 || baseline.edges(i) > baseline.edges(i - 1);
      if (!std::isfinite(baseline.edges(i)) || !ascends) return wrong("the edges do not ascend");
    }
  }

  const std::string path_;
  v1::Model& model_;
  Diagnostics& diagnostics_;
};

void PinModelFile(int index, v1::Model& model, Disk& disk, Diagnostics& diagnostics) {
  v1::LocalModel& local = *model.mutable_local();
  const std::string path = Concat("models[", index, "].local");
  const absl::StatusOr<std::string> bytes = disk.ReadAll(local.path(), local.size_bytes_max());
  if (!bytes.ok() && bytes.status().code() == absl::StatusCode::kOutOfRange) {
    diagnostics.Error(
        "MR1506", "", path + ".path",
        Concat("'", local.path(), "' is larger than ", local.size_bytes_max(), " bytes"),
        "raise size_bytes_max if that is right");
  } else if (!bytes.ok() && local.sha256().empty()) {
    diagnostics.Error(
        "MR1504", "", path + ".path",
        Concat("'", local.path(), "' cannot be read here: ", MessageOf(bytes.status())),
        "give its sha256, or put it there");
  } else if (!bytes.ok()) {
    diagnostics.Warning("MR1507", "", path + ".path",
                        Concat("'", local.path(), "' cannot be read here, so it was not checked"),
                        "workers check its digest when they start");
  } else {
    std::string digest;
    Sha256Hex(*bytes, digest);
    if (local.sha256().empty()) local.set_sha256(digest);
    if (local.sha256() == digest) return;
    diagnostics.Error("MR1505", "", path + ".sha256",
                      Concat("'", local.path(), "' has the digest ", digest),
                      "is it another version of the model?");
  }
}

}  // namespace

void CompileModels(google::protobuf::RepeatedPtrField<v1::Model>& models,
                   Diagnostics& diagnostics) {
  std::set<std::string> names;
  for (int i = 0; i < models.size(); ++i) {
    ModelCompiler(i, *models.Mutable(i), diagnostics).Run(names);
  }
}

const v1::Model* FindModel(const v1::JobGraph& graph, std::string_view name) {
  for (const v1::Model& model : graph.models()) {
    if (model.name() == name) return &model;
  }
  return nullptr;
}

void PinModelFiles(v1::JobGraph& graph, Disk& disk, Diagnostics& diagnostics) {
  for (int i = 0; i < graph.models_size(); ++i) {
    if (graph.models(i).has_local()) {
      PinModelFile(i, *graph.mutable_models(i), disk, diagnostics);
    }
  }
}

std::string TensorText(const v1::Tensor& tensor) {
  static constexpr std::string_view kNames[] = {"?",      "FLOAT",   "DOUBLE", "INT",
                                                "BIGINT", "BOOLEAN", "STRING"};
  const auto type = static_cast<size_t>(tensor.type());
  std::string text(type < std::size(kNames) ? kNames[type] : "?");
  return tensor.width() > 1 ? Concat(text, "[", tensor.width(), "]") : text;
}

v1::Type ColumnType(v1::Tensor::Type type) {
  v1::Type column;
  switch (type) {
    case v1::Tensor::TYPE_INT32:
      column.set_kind(v1::Type::KIND_INT32);
      break;
    case v1::Tensor::TYPE_INT64:
      column.set_kind(v1::Type::KIND_INT64);
      break;
    case v1::Tensor::TYPE_BOOL:
      column.set_kind(v1::Type::KIND_BOOL);
      break;
    case v1::Tensor::TYPE_STRING:
      column.set_kind(v1::Type::KIND_STRING);
      break;
    default:
      column.set_kind(v1::Type::KIND_FLOAT64);
  }
  return column;
}

}  // namespace millrace
