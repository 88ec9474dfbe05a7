// Points in time as shops write them, to microseconds since 1970-01-01T00:00:00Z.
//
//   numbers    seconds (with a fraction where there is one), milliseconds, microseconds or nanoseconds since 1970. All numbers
//   of
//              a table have one unit; which, the largest tells: it lies below 10^11 for seconds (the year 5138), 10^14 for
//              milliseconds, 10^17 for microseconds.
//   dates      2024-11-29, 2024-11-29 10:52, 2024-11-29T10:52:50.25Z, 2024/11/29 10:52:50 +01:00; without a zone they are UTC.
//   a format   of strptime's letters: %Y %y %m %d %H %I %M %S %f (a fraction) %p (AM, PM) %b (Jan) %z (+0100, Z) %j (day of
//              the year); any other character stands for itself, a blank for any number of them. For what can be read in two
//              ways, as 03/04/2024.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tradewind::runtime {

/// 0 where the date does not exist in the Gregorian calendar.
bool is_date(std::int64_t year, int month, int day);
/// Days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
std::int64_t days_of_date(std::int64_t year, int month, int day);

/// A time in one of the forms above that are dates, or in `format` where it is not empty. Nothing where it is not one.
std::optional<std::int64_t> parse_date(std::string_view text, std::string_view format = {});

/// "2024-11-29 10:52:50" (UTC), with a fraction where there is one.
std::string time_text(std::int64_t microseconds);

/// The times of one table, whose numbers have one unit.
class TimeColumn {
 public:
  explicit TimeColumn(std::string format) : format_(std::move(format)) {}

  /// Why a time could not be read, and how to mend it.
  struct Refusal {
    std::string what, repair;
  };
  /// Reads `text` into `time`. Numbers are in the unit as it is known so far: where unit_changed() says so afterwards, rescale
  /// what was read before.
  std::optional<Refusal> read(std::string_view text, std::int64_t& time);
  /// Brings times that were read before to the unit that the last number showed; a no-op where it has not changed.
  void rescale(std::span<std::int64_t> before);
  /// Of the numbers so far: 10^(-3 unit) seconds.
  int unit() const { return unit_; }
  /// Brings times that were read in the unit `from` to the unit `to`.
  static void rescale(std::span<std::int64_t> times, int from, int to);

 private:
  std::optional<Refusal> read_number(std::string_view text, std::int64_t& time);

  std::string format_;
  bool numbers_ = false, dates_ = false;  // what was met
  int unit_ = 0;                          // of numbers: 10^(-3 unit) seconds
  int rescaled_ = 0;                      // the unit that rescale() knows
};

}  // namespace tradewind::runtime
