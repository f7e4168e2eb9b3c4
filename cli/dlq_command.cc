#include "cli/dlq_command.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "operators/connectors/kafka/letter_queue.h"
#include "operators/formats/utf8.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/base64.h"
#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

constexpr size_t kPayloadShown = 60;
constexpr size_t kErrorShown = 80;

absl::Status Usage(const std::string& message) { return absl::InvalidArgumentError(message); }

absl::StatusOr<LetterTopic> ParseTopic(const std::string& flag, const std::string& text,
                                       const std::map<std::string, std::string>& properties) {
  constexpr char kScheme[] = "kafka:";
  const size_t slash = text.rfind('/');
  if (text.rfind(kScheme, 0) != 0 || slash == std::string::npos || slash + 1 == text.size()) {
    return Usage(absl::StrCat(flag, " wants kafka:BROKERS/TOPIC, not '", text, "'"));
  }
  LetterTopic topic{.topic = text.substr(slash + 1)};
  const size_t begin = sizeof(kScheme) - 1;
  MILLRACE_ASSIGN_OR_RETURN(topic.client,
                            ParseKafkaClientOptions(text.substr(begin, slash - begin), properties));
  return topic;
}

// Values that begin with @ are in files, so that secrets stand in no list of processes.
absl::StatusOr<std::map<std::string, std::string>> ParseProperties(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::string> properties;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Usage(absl::StrCat("--property wants name=value, not '", text, "'"));
    }
    std::string value = text.substr(equals + 1);
    if (value.rfind('@', 0) == 0) {
      std::ifstream in(value.substr(1), std::ios::binary);
      if (!in) return Usage(absl::StrCat("cannot read ", value.substr(1)));
      value.assign(std::istreambuf_iterator<char>(in), {});
      while (!value.empty() && value.back() == '\n') value.pop_back();
    }
    properties[text.substr(0, equals)] = value;
  }
  return properties;
}

absl::StatusOr<LetterSelection> ParseSelection(const DlqOptions& options, Clock& clock) {
  LetterSelection selection{.codes = options.codes, .job_id = options.job_id, .uid = options.uid};
  if (!options.offsets.empty()) {
    auto offsets = LetterSelection::ParseOffsets(options.offsets);
    if (!offsets.ok()) return Usage(absl::StrCat("--offsets: ", offsets.status().message()));
    selection.offsets = *std::move(offsets);
  }
  if (options.since.empty()) return selection;
  absl::Duration ago;
  absl::Time time;
  std::string error;
  if (absl::ParseDuration(options.since, &ago) && ago > absl::ZeroDuration()) {
    time = clock.Now() - ago;
  } else if (!absl::ParseTime("%Y-%m-%d %H:%M:%E*S", options.since, &time, &error) &&
             !absl::ParseTime("%Y-%m-%d", options.since, &time, &error) &&
             !absl::ParseTime(absl::RFC3339_full, options.since, &time, &error)) {
    return Usage(
        absl::StrCat("--since wants a duration (15m, 2h) or a time in UTC "
                     "(2026-01-31 12:00:00), not '",
                     options.since, "'"));
  }
  selection.since_us = absl::ToUnixMicros(time);
  return selection;
}

// An object per line is a list in YAML.
const char* ItemMark(OutputFormat format) { return format == OutputFormat::kYaml ? "- " : ""; }

int Fail(const absl::Status& status) {
  PrintError(status, "");
  return absl::IsInvalidArgument(status) ? kExitUsage : ExitCodeFor(status);
}

// On one line, and no byte that a terminal would obey.
std::string Shown(std::string_view bytes, size_t length_max) {
  std::string text;
  for (const char c : bytes.substr(0, length_max)) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      absl::StrAppend(&text, "\\x", absl::Hex(byte, absl::kZeroPad2));
    }
  }
  if (bytes.size() > length_max) absl::StrAppend(&text, "... (", bytes.size(), " bytes)");
  return text;
}

std::string PayloadText(const LetterRecord& record) {
  if (record.letter.left_out)
    return absl::StrCat("(", std::string(*record.letter.left_out), " bytes left out)");
  return record.value ? Shown(*record.value, kPayloadShown) : "NULL";
}

std::string SourceText(const KafkaLetter& letter) {
  std::string text = letter.topic.empty() ? "-" : std::string(letter.topic);
  if (letter.partition) absl::StrAppend(&text, "/", *letter.partition);
  if (letter.offset) absl::StrAppend(&text, "/", *letter.offset);
  return text;
}

std::string TimeOf(const LetterRecord& record) {
  return record.letter.time.empty() ? TimeText(record.timestamp_ms * 1000)
                                    : Shown(record.letter.time, 30);
}

// Text where it is text, else base64 under another name.
void AppendBytes(std::string_view name, const std::optional<std::string_view>& bytes,
                 std::string& out) {
  const bool is_text = !bytes || IsUtf8(*bytes);
  out += ',';
  AppendJsonString(is_text ? std::string(name) : std::string(name) + "_base64", out);
  out += ':';
  if (!bytes) {
    out += "null";
  } else if (is_text) {
    AppendJsonString(*bytes, out);
  } else {
    out += '"';
    AppendBase64(*bytes, out);
    out += '"';
  }
}

std::string AsJson(const LetterRecord& record) {
  const KafkaLetter& letter = record.letter;
  std::string out =
      absl::StrCat("{\"partition\":", record.partition, ",\"offset\":", record.offset);
  const auto text = [&out](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    AppendBytes(name, value, out);
  };
  text("time", letter.time);
  text("job", letter.job);
  text("uid", letter.uid);
  text("code", letter.code);
  text("stage", letter.stage);
  text("error", letter.error);
  text("source", letter.topic);
  if (letter.partition) absl::StrAppend(&out, ",\"source_partition\":", *letter.partition);
  if (letter.offset) absl::StrAppend(&out, ",\"source_offset\":", *letter.offset);
  text("columns", letter.columns);
  if (letter.left_out) text("value_bytes", *letter.left_out);
  AppendBytes("key", record.key, out);
  AppendBytes("value", record.value, out);
  absl::StrAppend(&out, ",\"replayable\":", letter.has_original() ? "true" : "false", "}");
  return out;
}

void TellOfOthers(const LetterCounts& counts) {
  if (counts.not_letters == 0) return;
  std::fprintf(stderr,
               "%llu of %llu records are no letters: they have no __connect.errors headers "
               "(letters are written with 'format' = 'dead-letter')\n",
               static_cast<unsigned long long>(counts.not_letters),
               static_cast<unsigned long long>(counts.read));
}

// Letters of one code and source.
struct Group {
  uint64_t count = 0;
  std::string first, last;
};

int Summarize(const LetterTopic& from, const LetterSelection& selection, OutputFormat format,
              Env& env, const std::function<bool()>& interrupted) {
  std::map<std::tuple<std::string, std::string, std::string>, Group> groups;
  const auto counts =
      ReadLetters(from, selection, env.clock, interrupted, [&](const LetterRecord& record) {
        const KafkaLetter& letter = record.letter;
        Group& group =
            groups[{std::string(letter.code), std::string(letter.uid), std::string(letter.topic)}];
        const std::string time = TimeOf(record);
        if (group.count++ == 0 || time < group.first) group.first = time;
        group.last = std::max(group.last, time);
        return true;
      });
  if (!counts.ok()) return Fail(counts.status());
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, group] : groups) {
    const auto& [code, uid, source] = key;
    if (IsDocument(format)) {
      std::string out = absl::StrCat(ItemMark(format), "{\"code\":");
      AppendJsonString(code, out);
      out += ",\"uid\":";
      AppendJsonString(uid, out);
      out += ",\"source\":";
      AppendJsonString(source, out);
      std::printf("%s,\"count\":%llu}\n", out.c_str(),
                  static_cast<unsigned long long>(group.count));
      continue;
    }
    rows.push_back({code, Shown(uid, kErrorShown),
                    source.empty() ? "-" : Shown(source, kErrorShown), absl::StrCat(group.count),
                    group.first, group.last});
  }
  if (!IsDocument(format)) {
    PrintTable({"CODE", "UID", "SOURCE", "LETTERS", "FIRST", "LAST"}, rows);
  }
  TellOfOthers(*counts);
  return kExitOk;
}

}  // namespace

int DlqList(const DlqOptions& options, OutputFormat format, Env env,
            const std::function<bool()>& interrupted) {
  const auto properties = ParseProperties(options.properties);
  if (!properties.ok()) return Fail(properties.status());
  const auto from = ParseTopic("--from", options.from, *properties);
  if (!from.ok()) return Fail(from.status());
  const auto selection = ParseSelection(options, env.clock);
  if (!selection.ok()) return Fail(selection.status());
  if (options.summary) return Summarize(*from, *selection, format, env, interrupted);
  std::vector<std::vector<std::string>> rows;
  uint64_t shown = 0;
  bool more = false;
  const auto counts =
      ReadLetters(*from, *selection, env.clock, interrupted, [&](const LetterRecord& record) {
        if (options.limit > 0 && shown == options.limit) {
          more = true;
          return false;
        }
        ++shown;
        const KafkaLetter& letter = record.letter;
        if (IsDocument(format)) {
          std::printf("%s%s\n", ItemMark(format), AsJson(record).c_str());
        } else {
          rows.push_back({absl::StrCat(record.partition, ":", record.offset), TimeOf(record),
                          Shown(letter.uid, kErrorShown), Shown(letter.code, kErrorShown),
                          Shown(SourceText(letter), kErrorShown), Shown(letter.error, kErrorShown),
                          PayloadText(record)});
        }
        return true;
      });
  if (!counts.ok()) return Fail(counts.status());
  if (!IsDocument(format)) {
    PrintTable({"AT", "TIME", "UID", "CODE", "SOURCE", "ERROR", "PAYLOAD"}, rows);
  }
  if (more) {
    std::fprintf(stderr, "the first %llu; there are more: --limit 0 shows all\n",
                 static_cast<unsigned long long>(shown));
  }
  TellOfOthers(*counts);
  return kExitOk;
}

int DlqReplay(const DlqOptions& options, OutputFormat format, Env env,
              const std::function<bool()>& interrupted) {
  const auto properties = ParseProperties(options.properties);
  if (!properties.ok()) return Fail(properties.status());
  ReplayOptions replay{.name = options.name, .dry_run = options.dry_run};
  const auto run = [&]() -> absl::StatusOr<ReplayResult> {
    MILLRACE_ASSIGN_OR_RETURN(replay.from, ParseTopic("--from", options.from, *properties));
    MILLRACE_ASSIGN_OR_RETURN(replay.to, ParseTopic("--to", options.to, *properties));
    MILLRACE_ASSIGN_OR_RETURN(replay.selection, ParseSelection(options, env.clock));
    if (replay.from.topic == replay.to.topic &&
        replay.from.client.brokers == replay.to.client.brokers) {
      return Usage("--from and --to are the same topic");
    }
    const bool plain = options.name.size() <= 200 &&
                       options.name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
                           std::string::npos;
    if (!plain) return Usage("--name wants letters, digits, '.', '_' and '-', at most 200");
    // The same command again must mean the same letters.
    absl::Duration relative;
    if (absl::ParseDuration(options.since, &relative)) {
      return Usage("--since of a replay wants a time in UTC, \"2026-01-31 12:00:00\"");
    }
    return ReplayLetters(replay, env.clock, interrupted, nullptr);
  };
  const absl::StatusOr<ReplayResult> result = run();
  if (!result.ok()) {
    const int code = Fail(result.status());
    if (code != kExitUsage && !options.dry_run) {
      std::fprintf(stderr, "what was committed stays; the same command again goes on behind it\n");
    }
    return code;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [code, counts] : result->by_code) {
    if (IsDocument(format)) {
      std::string out = absl::StrCat(ItemMark(format), "{\"code\":");
      AppendJsonString(code, out);
      std::printf("%s,\"replayed\":%llu,\"without_record\":%llu}\n", out.c_str(),
                  static_cast<unsigned long long>(counts.replayed),
                  static_cast<unsigned long long>(counts.without_record));
      continue;
    }
    rows.push_back({Shown(code, kErrorShown), absl::StrCat(counts.replayed),
                    absl::StrCat(counts.without_record)});
  }
  if (!IsDocument(format)) {
    PrintTable({"CODE", options.dry_run ? "WOULD BE REPLAYED" : "REPLAYED", "WITHOUT RECORD"},
               rows);
  }
  if (result->replayed_before > 0) {
    std::fprintf(stderr, "%llu were replayed before\n",
                 static_cast<unsigned long long>(result->replayed_before));
  }
  if (result->expired > 0) {
    std::fprintf(stderr,
                 "warning: %llu offsets of the topic of letters were deleted before this replay "
                 "came to them\n",
                 static_cast<unsigned long long>(result->expired));
  }
  if (!options.dry_run) std::fprintf(stderr, "replay: %s\n", result->name.c_str());
  TellOfOthers(result->counts);
  return kExitOk;
}

}  // namespace millrace
