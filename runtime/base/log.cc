#include "runtime/base/log.h"

#include <charconv>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace millrace {
namespace {

struct Logger {
  std::shared_ptr<spdlog::logger> text;
  bool json = false;
  absl::Mutex mutex;
  std::function<void(LogLevel, std::string_view, const LogFields&)> observer ABSL_GUARDED_BY(mutex);

  Logger()
      : text(std::make_shared<spdlog::logger>("millrace",
                                              std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
    text->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %L %v", spdlog::pattern_time_type::utc);
  }
};

Logger& TheLogger() {
  static auto* logger = new Logger;  // Never destroyed: threads may log at exit.
  return *logger;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", c);
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

LogField::LogField(std::string_view name, std::string_view value)
    : name(name), text(value), quoted(true) {}
LogField::LogField(std::string_view name, int64_t value)
    : name(name), text(std::to_string(value)), quoted(false) {}
LogField::LogField(std::string_view name, uint64_t value)
    : name(name), text(std::to_string(value)), quoted(false) {}
LogField::LogField(std::string_view name, double value) : name(name), quoted(false) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  text.assign(buffer, end);
}

void Log(LogLevel level, std::string_view message, LogFields fields) {
  Logger& logger = TheLogger();
  {
    absl::MutexLock lock(&logger.mutex);
    if (logger.observer) logger.observer(level, message, fields);
  }
  if (!logger.text->should_log(SpdlogLevel(level))) return;
  std::string line;
  if (logger.json) {
    // The pattern opens the object with time and level.
    AppendJsonString(message, line);
    for (const LogField& field : fields) {
      line += ',';
      AppendJsonString(field.name, line);
      line += ':';
      if (field.quoted) {
        AppendJsonString(field.text, line);
      } else {
        line += field.text;
      }
    }
  } else {
    line = message;
    for (const LogField& field : fields) {
      line += ' ';
      line += field.name;
      line += '=';
      line += field.text;
    }
  }
  logger.text->log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
}

void InitLogging(LogLevel level_min, bool json) {
  Logger& logger = TheLogger();
  logger.json = json;
  logger.text->set_level(SpdlogLevel(level_min));
  if (json) {
    logger.text->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","message":%v})",
                             spdlog::pattern_time_type::utc);
  }
}

void SetLogObserver(
    std::function<void(LogLevel, std::string_view message, const LogFields& fields)> observer) {
  Logger& logger = TheLogger();
  absl::MutexLock lock(&logger.mutex);
  logger.observer = std::move(observer);
}

}  // namespace millrace
