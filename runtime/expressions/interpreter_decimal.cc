// Reference meanings: exact decimals, with numbers of any length, calculated digit by digit as on
// paper. (Not by Arrow's Decimal256: its division is wrong for some long numbers.)
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "re2/re2.h"
#include "runtime/expressions/interpreter.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;

// A whole number without a sign: its digits, the first one is not 0.
class Digits {
 public:
  Digits() = default;
  explicit Digits(std::string text) : text_(std::move(text)) {
    text_.erase(0, text_.find_first_not_of('0'));
  }

  const std::string& text() const { return text_; }
  bool IsZero() const { return text_.empty(); }
  int FromEnd(size_t i) const { return i < text_.size() ? text_[text_.size() - 1 - i] - '0' : 0; }

  bool operator<(const Digits& other) const {
    if (text_.size() != other.text_.size()) return text_.size() < other.text_.size();
    return text_ < other.text_;
  }

  Digits Plus(const Digits& other) const {
    std::string sum;
    int carry = 0;
    for (size_t i = 0; i <= std::max(text_.size(), other.text_.size()); ++i) {
      const int digit = FromEnd(i) + other.FromEnd(i) + carry;
      sum.insert(sum.begin(), static_cast<char>('0' + digit % 10));
      carry = digit / 10;
    }
    return Digits(sum);
  }
  // `other` is not greater.
  Digits Minus(const Digits& other) const {
    std::string difference;
    int borrow = 0;
    for (size_t i = 0; i < text_.size(); ++i) {
      const int digit = FromEnd(i) - other.FromEnd(i) - borrow;
      borrow = digit < 0 ? 1 : 0;
      difference.insert(difference.begin(), static_cast<char>('0' + digit + 10 * borrow));
    }
    return Digits(difference);
  }
  Digits Shifted(int zeros) const {
    return Digits(text_ + std::string(static_cast<size_t>(zeros), '0'));
  }
  Digits Times(const Digits& other) const {
    Digits product;
    for (size_t i = 0; i < other.text_.size(); ++i) {
      for (int k = 0; k < other.FromEnd(i); ++k) {
        product = product.Plus(Shifted(static_cast<int>(i)));
      }
    }
    return product;
  }
  // The quotient; what is left becomes `rest`.
  Digits Divided(const Digits& divisor, Digits& rest) const {
    std::string quotient;
    rest = Digits();
    for (const char digit : text_) {
      rest = Digits(rest.text_ + digit);
      char count = '0';
      for (; !(rest < divisor); ++count) rest = rest.Minus(divisor);
      quotient.push_back(count);
    }
    return Digits(quotient);
  }

 private:
  std::string text_;
};

struct Number {
  Digits digits;
  bool negative = false;
};

Number Of(const Datum& datum) {
  std::string text;
  Int128 rest = datum.decimal_value;
  for (; rest != 0; rest /= 10) {
    text.insert(text.begin(), static_cast<char>('0' + std::abs(static_cast<int>(rest % 10))));
  }
  return {Digits(text), datum.decimal_value < 0};
}

// Without the last `count` digits: cut, or half away from zero.
Digits Dropped(const Digits& value, int count, bool cut = false) {
  const std::string& text = value.text();
  const size_t kept = text.size() - std::min(text.size(), static_cast<size_t>(count));
  const Digits whole(text.substr(0, kept));
  const bool up = !cut && count > 0 && value.FromEnd(static_cast<size_t>(count) - 1) >= 5;
  return up ? whole.Plus(Digits("1")) : whole;
}

Result Fitting(const Number& number, DataType type) {
  if (number.digits.text().size() > static_cast<size_t>(type.precision())) {
    return RowError("decimal out of range");
  }
  Int128 value = 0;
  for (const char digit : number.digits.text()) value = value * 10 + (digit - '0');
  return DecimalOf(type, number.negative ? -value : value);
}

// Both with the finer scale of the two.
std::pair<Number, Number> Aligned(const In& in) {
  const int scale = std::max(in[0].type.scale(), in[1].type.scale());
  Number a = Of(in[0]), b = Of(in[1]);
  a.digits = a.digits.Shifted(scale - in[0].type.scale());
  b.digits = b.digits.Shifted(scale - in[1].type.scale());
  return {a, b};
}

Result Add(const In& in, bool subtract) {
  auto [a, b] = Aligned(in);
  if (subtract) b.negative = !b.negative;
  Number sum;
  if (a.negative == b.negative) {
    sum = {a.digits.Plus(b.digits), a.negative};
  } else if (a.digits < b.digits) {
    sum = {b.digits.Minus(a.digits), b.negative};
  } else {
    sum = {a.digits.Minus(b.digits), a.negative};
  }
  const int scale = std::max(in[0].type.scale(), in[1].type.scale());
  return Fitting({Dropped(sum.digits, scale - in.result.scale()), sum.negative}, in.result);
}

Result Multiply(const In& in) {
  const Number a = Of(in[0]), b = Of(in[1]);
  const int scale = in[0].type.scale() + in[1].type.scale();
  return Fitting(
      {Dropped(a.digits.Times(b.digits), scale - in.result.scale()), a.negative != b.negative},
      in.result);
}

Result Divide(const In& in) {
  const Number a = Of(in[0]), b = Of(in[1]);
  if (b.digits.IsZero()) return RowError("division by zero");
  // One digit more than the result has, to round by; what follows it decides nothing.
  const int zeros = in.result.scale() + 1 - in[0].type.scale() + in[1].type.scale();
  Digits rest;
  const Digits quotient = a.digits.Shifted(zeros).Divided(b.digits, rest);
  return Fitting({Dropped(quotient, 1), a.negative != b.negative}, in.result);
}

Result Modulo(const In& in) {
  const auto [a, b] = Aligned(in);
  if (b.digits.IsZero()) return RowError("division by zero");
  Digits rest;
  a.digits.Divided(b.digits, rest);
  const int scale = std::max(in[0].type.scale(), in[1].type.scale());
  return Fitting({Dropped(rest, scale - in.result.scale()), a.negative}, in.result);
}

// CEIL and FLOOR: away from zero on the side of `negative`.
Result Whole(const In& in, bool away_if_negative) {
  const Number from = Of(in[0]);
  const int scale = in[0].type.scale();
  Digits whole = Dropped(from.digits, scale, true);
  const bool exact = from.digits.Minus(whole.Shifted(scale)).IsZero();
  if (!exact && from.negative == away_if_negative) whole = whole.Plus(Digits("1"));
  return Fitting({whole, from.negative}, in.result);
}

// ROUND and TRUNCATE.
Result ToDigits(const In& in, bool cut) {
  const Number from = Of(in[0]);
  const int scale = in[0].type.scale();
  if (in.size() == 1) return Fitting({Dropped(from.digits, scale, cut), from.negative}, in.result);
  const int64_t digits = in[1].int_value;
  if (digits >= scale) return Fitting(from, in.result);
  if (digits < -40) return DecimalOf(in.result, 0);
  const int dropped = scale - static_cast<int>(digits);
  return Fitting({Dropped(from.digits, dropped, cut).Shifted(dropped), from.negative}, in.result);
}

std::string TextOf(const Datum& from) {
  std::string digits = Of(from).digits.text();
  const auto scale = static_cast<size_t>(from.type.scale());
  if (digits.size() <= scale) digits.insert(0, scale + 1 - digits.size(), '0');
  std::string text = from.decimal_value < 0 ? "-" : "";
  text.append(digits, 0, digits.size() - scale);
  if (scale > 0) text.append(1, '.').append(digits, digits.size() - scale);
  return text;
}

const std::map<std::string_view, FunctionRow>& Functions() {
  static const auto* functions = new std::map<std::string_view, FunctionRow>{
      {"add", {[](const In& in) { return Add(in, false); }}},
      {"subtract", {[](const In& in) { return Add(in, true); }}},
      {"multiply", {Multiply}},
      {"divide", {Divide}},
      {"modulo", {Modulo}},
      {"negate",
       {[](const In& in) -> Result { return DecimalOf(in.result, -in[0].decimal_value); }}},
      {"abs", {[](const In& in) {
         return Fitting({Of(in[0]).digits, false}, in.result);
       }}},
      {"sign", {[](const In& in) -> Result {
         return Int(in.result, (in[0].decimal_value > 0) - (in[0].decimal_value < 0));
       }}},
      {"ceil", {[](const In& in) { return Whole(in, false); }}},
      {"floor", {[](const In& in) { return Whole(in, true); }}},
      {"round", {[](const In& in) { return ToDigits(in, false); }}},
      {"truncate", {[](const In& in) { return ToDigits(in, true); }}},
  };
  return *functions;
}

}  // namespace

FunctionRow FindDecimalFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

Result DecimalFromText(std::string_view text, DataType to) {
  std::string sign, whole, point, fraction, exponent;
  static const RE2 form("\\s*([+-]?)([0-9]*)(\\.?)([0-9]*)(?:[eE]([+-]?[0-9]{1,4}))?\\s*");
  const absl::Status failed =
      RowError(expressions::Text("cannot cast '", text, "' to ", TypeText(to)));
  if (!RE2::FullMatch(text, form, &sign, &whole, &point, &fraction, &exponent) ||
      whole.size() + fraction.size() == 0) {
    return failed;
  }
  // The number is `digits` times ten to this power, unscaled.
  Digits digits(whole + fraction);
  const int power = std::atoi(exponent.c_str()) - static_cast<int>(fraction.size()) + to.scale();
  if (power < 0) digits = Dropped(digits, -power);
  if (power > 0 && !digits.IsZero()) digits = digits.Shifted(std::min(power, 60));
  const Result fitting = Fitting({digits, sign == "-"}, to);
  return fitting.ok() ? fitting : failed;
}

Result ConvertDecimal(const Datum& from, DataType to) {
  if (to == TypeKind::kDecimal) {
    switch (from.type) {
      case TypeKind::kDecimal: {
        const Number number = Of(from);
        const int more = to.scale() - from.type.scale();
        return Fitting({more > 0 ? number.digits.Shifted(more) : Dropped(number.digits, -more),
                        number.negative},
                       to);
      }
      case TypeKind::kString:
        return DecimalFromText(from.string_value, to);
      case TypeKind::kFloat64:
        return DecimalFromText(Convert(from, TypeKind::kString)->string_value, to);
      case TypeKind::kBool:
        return DecimalFromText(from.bool_value ? "1" : "0", to);
      default:
        return DecimalFromText(std::to_string(from.int_value), to);
    }
  }
  if (to == TypeKind::kString) return Text(to, TextOf(from));
  if (to == TypeKind::kBool) return Bool(from.decimal_value != 0);
  if (to == TypeKind::kFloat64) return Float(std::strtod(TextOf(from).c_str(), nullptr));
  const Number number = Of(from);
  const auto whole = Fitting({Dropped(number.digits, from.type.scale(), true), number.negative},
                             DataType::Decimal(DataType::kPrecisionMax, 0));
  return Checked(to, whole->decimal_value);
}

}  // namespace millrace::expressions::reference
