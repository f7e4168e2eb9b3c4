// Values of a JSON document, by simdjson's DOM. A missing or wrong member makes the reader fail: it
// then gives 0 or nothing for everything, and the caller looks at ok() at the end.
//
// Threading: one thread.
#pragma once

#include <simdjson.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

class JsonReader {
 public:
  using Element = simdjson::dom::element;

  bool ok() const { return problem_.empty(); }
  const std::string& problem() const { return problem_; }
  void Fail(std::string_view what) {
    if (problem_.empty()) problem_ = std::string(what);
  }

  Element Member(const Element& object, std::string_view name) {
    Element value;
    if (!ok()) return value;
    if (object[name].get(value) != simdjson::SUCCESS) Fail(name);
    return value;
  }
  // Must not be touched after a failure: look at ok() first.
  simdjson::dom::array Array(const Element& value, std::string_view name) {
    simdjson::dom::array array;
    if (ok() && value.get(array) != simdjson::SUCCESS) Fail(name);
    return array;
  }
  std::string_view Text(const Element& value, std::string_view name) {
    std::string_view text;
    if (!ok()) return text;
    if (value.get(text) != simdjson::SUCCESS) Fail(name);
    return text;
  }
  double Number(const Element& value, std::string_view name) {
    double number = 0;
    if (!ok()) return number;
    if (value.get(number) != simdjson::SUCCESS) Fail(name);
    return number;
  }
  // XGBoost writes whole numbers as texts.
  int64_t WholeText(const Element& object, std::string_view name) {
    const std::string_view text = Text(Member(object, name), name);
    int64_t number = 0;
    if (!ok()) return number;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) Fail(name);
    return number;
  }
  std::vector<double> Numbers(const Element& value, std::string_view name) {
    simdjson::dom::array array;
    std::vector<double> numbers;
    if (!ok()) return numbers;
    if (value.get(array) != simdjson::SUCCESS) {
      Fail(name);
      return numbers;
    }
    numbers.reserve(array.size());
    for (const Element item : array) numbers.push_back(Number(item, name));
    return numbers;
  }
  // Whole numbers that fit 32 bits; true and false are 1 and 0.
  std::vector<int32_t> Wholes(const Element& value, std::string_view name) {
    simdjson::dom::array array;
    std::vector<int32_t> numbers;
    if (!ok()) return numbers;
    if (value.get(array) != simdjson::SUCCESS) {
      Fail(name);
      return numbers;
    }
    numbers.reserve(array.size());
    for (const Element item : array) {
      int64_t number = 0;
      bool flag = false;
      if (item.get(flag) == simdjson::SUCCESS) {
        number = flag ? 1 : 0;
      } else if (item.get(number) != simdjson::SUCCESS || number < INT32_MIN ||
                 number > INT32_MAX) {
        Fail(name);
      }
      numbers.push_back(static_cast<int32_t>(number));
    }
    return numbers;
  }

 private:
  std::string problem_;
};

}  // namespace millrace
