// Structured logs: one JSON object per line (or text on a terminal) on stderr, with the fields that
// the surrounding scope has set. A facade over spdlog, which no other file includes.
//
//   LogInfo("epoch completed", {{"job", job_id}, {"epoch", epoch.number}});
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

namespace millrace {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogField {
  LogField(std::string_view name, std::string_view value);
  LogField(std::string_view name, const char* value) : LogField(name, std::string_view(value)) {}
  LogField(std::string_view name, const std::string& value)
      : LogField(name, std::string_view(value)) {}
  LogField(std::string_view name, int64_t value);
  LogField(std::string_view name, uint64_t value);
  LogField(std::string_view name, int value) : LogField(name, static_cast<int64_t>(value)) {}
  LogField(std::string_view name, uint32_t value) : LogField(name, static_cast<uint64_t>(value)) {}
  LogField(std::string_view name, double value);

  std::string_view name;
  std::string text;
  bool quoted;
};

using LogFields = std::initializer_list<LogField>;

// Threading: any thread.
void Log(LogLevel level, std::string_view message, LogFields fields = {});

// Call once in main. `json`: one JSON object per line; else human-readable text.
void InitLogging(LogLevel level_min, bool json);
// Also sees every line, e.g. to keep the last ones of a job; called on the logging thread. Replaces
// the observer before it; null removes it.
void SetLogObserver(
    std::function<void(LogLevel, std::string_view message, const LogFields& fields)> observer);

inline void LogInfo(std::string_view message, LogFields f = {}) {
  Log(LogLevel::kInfo, message, f);
}
inline void LogWarning(std::string_view m, LogFields f = {}) { Log(LogLevel::kWarning, m, f); }
inline void LogError(std::string_view m, LogFields f = {}) { Log(LogLevel::kError, m, f); }
inline void LogDebug(std::string_view m, LogFields f = {}) { Log(LogLevel::kDebug, m, f); }

}  // namespace millrace
