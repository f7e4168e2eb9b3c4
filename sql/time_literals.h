// Values of TIMESTAMP '…', DATE '…' and INTERVAL '…' literals.
//
// Threading: pure functions; false = not such a value, or outside the range.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

// 2026-01-31 12:00:00[.ffffff], also with T; the time may be left out. Microseconds since 1970.
bool ParseTimestampLiteral(std::string_view text, int64_t* us);
// 2026-01-31, days since 1970.
bool ParseDateLiteral(std::string_view text, int64_t* days);

// Largest and smallest unit of an INTERVAL 'a:b' MINUTE TO SECOND literal.
enum class IntervalUnit { kDay, kHour, kMinute, kSecond };
// "10" with units {kSecond, kSecond}; "1 02:03:04.5" with {kDay, kSecond}.
bool ParseUnitInterval(std::string_view text, IntervalUnit first, IntervalUnit last, int64_t* us);
// "1 day 2 hours", "500 ms", "01:30:00", "-1.5 minutes".
bool ParseFreeInterval(std::string_view text, int64_t* us);

// "5 min", "1500 ms": in the largest unit that divides it.
std::string DurationText(uint64_t ms);

}  // namespace millrace
