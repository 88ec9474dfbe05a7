#include "runtime/data/time_parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace tradewind::runtime {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDay = 86'400 * kSecond;
constexpr std::array<std::int64_t, 7> kPowers = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000};
constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Reads a text from left to right; each step says whether what it wants was there.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool ended() const { return at_ == text_.size(); }
  bool next_is(std::string_view any) const { return !ended() && any.find(text_[at_]) != std::string_view::npos; }
  bool take(char c) { return next_is({&c, 1}) && ++at_ > 0; }
  bool blanks() {
    const std::size_t before = at_;
    while (!ended() && is_blank(text_[at_])) ++at_;
    return at_ > before;
  }
  /// `least` to `most` digits.
  bool digits(int least, int most, int& value) {
    int count = 0;
    for (value = 0; count < most && !ended() && is_digit(text_[at_]); ++count) value = 10 * value + (text_[at_++] - '0');
    return count >= least;
  }
  /// Digits behind a decimal point, as microseconds; those behind the sixth are cut off.
  bool fraction(std::int64_t& microseconds) {
    std::size_t count = 0;
    for (microseconds = 0; !ended() && is_digit(text_[at_]); ++at_, ++count)
      if (count < 6) microseconds = 10 * microseconds + (text_[at_] - '0');
    if (count < 6) microseconds *= kPowers[6 - count];
    return count > 0;
  }
  /// The first of `names` (in small letters) that begins here, in letters of either size; the longest form of a month is taken.
  template <std::size_t N>
  bool word(const std::array<std::string_view, N>& names, int& index) {
    for (index = 0; index < static_cast<int>(N); ++index) {
      const std::string_view name = names[static_cast<std::size_t>(index)];
      std::size_t length = 0;
      while (length < name.size() && at_ + length < text_.size() && lower(text_[at_ + length]) == name[length]) ++length;
      if (length == name.size()) return at_ += length, true;
    }
    return false;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

struct Fields {
  int year = 1970, month = 1, day = 1, day_of_year = 0, hour = 0, minute = 0, second = 0;
  std::int64_t fraction = 0, zone_seconds = 0;
  int half = -1;  // of the day: 0 AM, 1 PM, -1 none

  std::optional<std::int64_t> microseconds() const {
    int hours = hour;
    if (half >= 0) {
      if (hour < 1 || hour > 12) return std::nullopt;
      hours = hour % 12 + 12 * half;
    }
    // A leap second is the first of the next minute, as POSIX counts.
    if (!is_date(year, month, day) || hours > 23 || minute > 59 || second > 60) return std::nullopt;
    if (day_of_year > (is_date(year, 2, 29) ? 366 : 365)) return std::nullopt;
    const std::int64_t days = day_of_year > 0 ? days_of_date(year, 1, 1) + day_of_year - 1 : days_of_date(year, month, day);
    return days * kDay + (hours * 3600 + minute * 60 + second - zone_seconds) * kSecond + fraction;
  }
};

/// "Z", "+01", "+0100", "+01:00".
bool read_zone(Scanner& scan, Fields& fields) {
  if (scan.take('Z') || scan.take('z')) return true;
  const bool west = scan.next_is("-");
  if (!scan.take('+') && !scan.take('-')) return false;
  int hours = 0, minutes = 0;
  if (!scan.digits(2, 2, hours) || hours > 15) return false;
  const bool colon = scan.take(':');
  if ((colon || !scan.ended()) && (!scan.digits(2, 2, minutes) || minutes > 59)) return false;
  fields.zone_seconds = (west ? -1 : 1) * (hours * 3600 + minutes * 60);
  return true;
}

bool read_iso(Scanner& scan, Fields& fields) {
  if (!scan.digits(4, 4, fields.year)) return false;
  const char separator = scan.next_is("/") ? '/' : '-';
  if (!scan.take(separator) || !scan.digits(1, 2, fields.month) || !scan.take(separator) || !scan.digits(1, 2, fields.day))
    return false;
  if (scan.ended()) return true;
  if (!scan.take('T') && !scan.take('t') && !scan.blanks()) return false;
  if (!scan.digits(1, 2, fields.hour) || !scan.take(':') || !scan.digits(2, 2, fields.minute)) return false;
  if (scan.take(':')) {
    if (!scan.digits(2, 2, fields.second)) return false;
    if ((scan.take('.') || scan.take(',')) && !scan.fraction(fields.fraction)) return false;
  }
  scan.blanks();
  return scan.ended() || (read_zone(scan, fields) && scan.ended());
}

bool read_directive(Scanner& scan, char directive, Fields& fields) {
  constexpr std::array<std::string_view, 2> kHalves = {"am", "pm"};
  switch (directive) {
    case 'Y': return scan.digits(4, 4, fields.year);
    case 'y':
      if (!scan.digits(2, 2, fields.year)) return false;
      fields.year += fields.year < 69 ? 2000 : 1900;  // as POSIX has it
      return true;
    case 'm': return scan.digits(1, 2, fields.month);
    case 'd': return scan.digits(1, 2, fields.day);
    case 'j': return scan.digits(1, 3, fields.day_of_year) && fields.day_of_year > 0;
    case 'H':
    case 'I': return scan.digits(1, 2, fields.hour);
    case 'M': return scan.digits(1, 2, fields.minute);
    case 'S': return scan.digits(1, 2, fields.second);
    case 'f': return scan.fraction(fields.fraction);
    case 'p': return scan.word(kHalves, fields.half);
    case 'b': return scan.word(kMonths, fields.month) && ++fields.month > 0;
    case 'z': return read_zone(scan, fields);
    case '%': return scan.take('%');
    default: return false;
  }
}

bool read_format(Scanner& scan, std::string_view format, Fields& fields) {
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (is_blank(format[i])) {
      scan.blanks();
    } else if (format[i] != '%') {
      if (!scan.take(format[i])) return false;
    } else if (++i == format.size() || !read_directive(scan, format[i], fields)) {
      return false;
    }
  }
  return scan.ended();
}

/// Dates as 29/11/2024 10:52, in which a person cannot tell either which is the month.
std::string guess_format(std::string_view text) {
  Scanner scan(text);
  int first = 0, second = 0, third = 0, ignored = 0;
  if (!scan.digits(1, 2, first) || !scan.next_is("/.-")) return {};
  const char separator = scan.take('/') ? '/' : scan.take('.') ? '.' : (scan.take('-'), '-');
  if (!scan.digits(1, 2, second) || !scan.take(separator) || !scan.digits(2, 4, third)) return {};
  std::string format = fmt::format("{}{}{}{}{}", second > 12 ? "%m" : "%d", separator, second > 12 ? "%d" : "%m", separator,
                                   third < 100 ? "%y" : "%Y");
  if (scan.blanks() && scan.digits(1, 2, ignored) && scan.take(':') && scan.digits(2, 2, ignored))
    format += scan.take(':') ? " %H:%M:%S" : " %H:%M";
  return format;
}

int unit_of(std::int64_t magnitude) {
  return magnitude < 100'000'000'000 ? 0 : magnitude < 100'000'000'000'000 ? 1 : magnitude < 100'000'000'000'000'000 ? 2 : 3;
}

std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 40;
  return fmt::format("\"{}{}\"", text.substr(0, kMost), text.size() > kMost ? "..." : "");
}

}  // namespace

bool is_date(std::int64_t year, int month, int day) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1) return false;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= kDays[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

std::int64_t days_of_date(std::int64_t year, int month, int day) {
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

std::optional<std::int64_t> parse_date(std::string_view text, std::string_view format) {
  Scanner scan(trimmed(text));
  Fields fields;
  if (!(format.empty() ? read_iso(scan, fields) : read_format(scan, trimmed(format), fields))) return std::nullopt;
  return fields.microseconds();
}

std::string time_text(std::int64_t microseconds) {
  const auto floor_divide = [](std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); };
  const std::int64_t days = floor_divide(microseconds, kDay);
  const std::int64_t in_day = microseconds - days * kDay, seconds = in_day / kSecond, fraction = in_day % kSecond;
  // The inverse of days_of_date, from the same source (civil_from_days).
  const std::int64_t z = days + 719'468, era = floor_divide(z, 146'097), of_era = z - era * 146'097;
  const std::int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36'524 - of_era / 146'096) / 365;
  const std::int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * of_year + 2) / 153, day = of_year - (153 * shifted + 2) / 5 + 1;
  const std::int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  std::string out =
      fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", year, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (fraction != 0) {
    out += fmt::format(".{:06}", fraction);
    out.erase(out.find_last_not_of('0') + 1);
  }
  return out;
}

std::optional<TimeColumn::Refusal> TimeColumn::read(std::string_view text, std::int64_t& time) {
  const std::string_view trim = trimmed(text);
  if (trim.empty()) return Refusal{"the time is empty", "Give every event its time, or leave the row out"};
  if (!format_.empty()) {
    const auto date = parse_date(trim, format_);
    if (date) return time = *date, std::nullopt;
    return Refusal{fmt::format("{} is not a time of the form {}", shown(trim), shown(format_)),
                   "Mend the row, or data.time_format, which all rows must have"};
  }
  const bool number = trim.find_first_not_of("0123456789.+-eE") == std::string_view::npos &&
                      trim.find('-', 1) == std::string_view::npos && std::ranges::count(trim, '.') <= 1;
  if (number) return read_number(trim, time);
  const auto date = parse_date(trim);
  if (date && !numbers_) return dates_ = true, time = *date, std::nullopt;
  if (date)
    return Refusal{fmt::format("{} is a date, but the times before it are numbers", shown(trim)), "Write all in one way"};
  if (const std::string format = guess_format(trim); !format.empty())
    return Refusal{fmt::format("{} can be read in more than one way", shown(trim)),
                   fmt::format("Say which: data.time_format = \"{}\"", format)};
  return Refusal{fmt::format("{} is not a time", shown(trim)),
                 "Write 2024-11-29T10:52:50Z or seconds since 1970, or describe the form with data.time_format, e.g. "
                 "\"%d.%m.%Y %H:%M\""};
}

std::optional<TimeColumn::Refusal> TimeColumn::read_number(std::string_view text, std::int64_t& time) {
  const auto refuse = [&] {
    return Refusal{fmt::format("{} is not a time", shown(text)),
                   "Write seconds, milliseconds or microseconds since 1970, or 2024-11-29T10:52:50Z"};
  };
  if (dates_)
    return Refusal{fmt::format("{} is a number, but the times before it are dates", shown(text)), "Write all in one way"};
  const char* const end = text.data() + text.size();
  const char* const begin = text.data() + (text.front() == '+' ? 1 : 0);
  std::int64_t whole = 0, fraction = 0;
  const auto [behind, error] = std::from_chars(begin, end, whole);
  if (error != std::errc{}) return refuse();
  if (behind != end && *behind == '.' && text.find_first_of("eE") == std::string_view::npos) {
    Scanner scan({behind + 1, static_cast<std::size_t>(end - behind - 1)});
    if (!scan.ended() && (!scan.fraction(fraction) || !scan.ended())) return refuse();
    if (*begin == '-') fraction = -fraction;
  } else if (behind != end) {  // 1.7328e+09, as tables of floats are written
    double number = 0;
    const auto [all, bad] = std::from_chars(begin, end, number);
    if (bad != std::errc{} || all != end || !(std::fabs(number) < 9e18)) return refuse();
    whole = static_cast<std::int64_t>(number);
    fraction = std::llround((number - static_cast<double>(whole)) * 1e6);
  }
  if (whole == std::numeric_limits<std::int64_t>::min()) return refuse();
  numbers_ = true;
  unit_ = std::max(unit_, unit_of(std::abs(whole)));
  switch (unit_) {
    case 0: time = whole * kSecond + fraction; break;
    case 1: time = whole * 1'000 + fraction / 1'000; break;
    case 2: time = whole; break;
    default: time = whole / 1'000;
  }
  return std::nullopt;
}

void TimeColumn::rescale(std::span<std::int64_t> before) {
  rescale(before, rescaled_, unit_);
  rescaled_ = unit_;
}

void TimeColumn::rescale(std::span<std::int64_t> times, int from, int to) {
  for (; from < to; ++from)
    for (std::int64_t& time : times) time /= 1'000;
}

}  // namespace tradewind::runtime
