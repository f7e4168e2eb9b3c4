// Values as text and back, for casts and date functions of the vectorised path. Private to
// runtime/expressions. Pure; parsers are strict: all of the text must be the value, but for spaces
// around it.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::expressions {

bool ParseInt64(std::string_view text, int64_t& out);
bool ParseDouble(std::string_view text, double& out);
bool ParseBool(std::string_view text, bool& out);
// yyyy-MM-dd, years 0001 to 9999.
bool ParseDate(std::string_view text, int32_t& days);
// yyyy-MM-dd[ T]HH:mm[:ss[.fraction]][Z], or a date alone. What is finer than 1 us is cut off.
bool ParseTimestamp(std::string_view text, int64_t& us);
// [+-]days HH:mm:ss[.fraction].
bool ParseInterval(std::string_view text, int64_t& us);

// Each writes into `out` (at least kValueTextMax bytes) and returns the end.
inline constexpr int kValueTextMax = 64;
char* PrintInt64(int64_t value, char* out);
// As Flink: 1.0, 123.25, 1.0E7, 1.0E-4, NaN, Infinity.
char* PrintDouble(double value, char* out);
char* PrintDate(int64_t days, char* out);
// yyyy-MM-dd HH:mm:ss.SSS, with six digits where three would lose something.
char* PrintTimestamp(int64_t us, char* out);
char* PrintInterval(int64_t us, char* out);
// `value` >= 0 in decimal with at least `width` digits.
char* PrintPadded(int64_t value, int width, char* out);

// The proleptic Gregorian calendar. Any int64 microseconds fit.
struct CivilDate {
  int64_t year;
  int month, day;
};
CivilDate CivilFromDays(int64_t days);
int64_t DaysFromCivil(int64_t year, int month, int day);
bool IsCivilDate(int64_t year, int month, int day);

inline constexpr int64_t kSecondUs = 1'000'000;
inline constexpr int64_t kMinuteUs = 60 * kSecondUs;
inline constexpr int64_t kHourUs = 60 * kMinuteUs;
inline constexpr int64_t kDayUs = 24 * kHourUs;

// Rounds towards minus infinity; `b` > 0.
constexpr int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
constexpr int64_t FloorMod(int64_t a, int64_t b) { return a % b < 0 ? a % b + b : a % b; }

}  // namespace millrace::expressions
