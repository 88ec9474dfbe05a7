#include "launcher/compare_users.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "launcher/id_file.h"
#include "launcher/output.h"
#include "runtime/core/terminal.h"
#include "runtime/data/csv.h"
#include "runtime/train/bootstrap.h"

namespace tradewind::launcher {
namespace {

namespace fs = std::filesystem;

struct Results {
  std::vector<std::string> metrics;
  std::map<std::string, std::vector<double>> of;  // a user
};

std::vector<std::string> header_of(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) throw DataError(file.string() + " cannot be read, or is empty");
  std::vector<std::string> out = runtime::CsvHeader(file.string(), line, 1).columns();
  if (out.size() < 2 || out[0] != "user")
    throw DataError(file.string() + ":1: this is no table of tradewind evaluate --per-user, which begins \"user,\"");
  return out;
}

Results read_results(const fs::path& file) {
  Results out;
  auto columns = header_of(file);
  std::erase_if(columns, [](const std::string& column) { return column.starts_with("slice "); });
  out.metrics.assign(columns.begin() + 1, columns.end());
  std::int64_t line = 1;
  for (const auto& row : read_columns(file, columns, "compare", 1)) {
    ++line;
    std::vector<double> values;
    for (std::size_t i = 1; i < row.size(); ++i) {
      double value = 0;
      const auto [end, error] = std::from_chars(row[i].data(), row[i].data() + row[i].size(), value);
      if (error != std::errc{} || end != row[i].data() + row[i].size())
        throw DataError(fmt::format("{}:{}: \"{}\" is no number; write the file anew with tradewind evaluate --per-user",
                                    file.string(), line, row[i]));
      values.push_back(value);
    }
    if (!out.of.emplace(row[0], std::move(values)).second)
      throw DataError(fmt::format("{}:{}: user \"{}\" is there twice", file.string(), line, row[0]));
  }
  return out;
}

}  // namespace

int compare_users(const fs::path& first, const fs::path& second, bool json) {
  const Results a = read_results(first), b = read_results(second);
  if (a.metrics != b.metrics)
    throw DataError(fmt::format("{} and {} hold other metrics; evaluate both with the same evaluate.cutoff", first.string(),
                                second.string()));
  std::vector<std::vector<double>> values_a, values_b;
  for (const auto& [user, values] : a.of) {
    const auto other = b.of.find(user);
    if (other == b.of.end() || a.of.size() != b.of.size())
      throw DataError(
          fmt::format("{} and {} hold other users ({} and {}; \"{}\" {}); evaluate both on the same part of the same "
                      "data",
                      first.string(), second.string(), a.of.size(), b.of.size(), user,
                      other == b.of.end() ? "is in the first alone" : "is in both"));
    values_a.push_back(values);
    values_b.push_back(other->second);
  }
  if (values_a.empty()) throw DataError(first.string() + " holds no users");
  constexpr std::int64_t kResamples = 10000;
  const auto differences = runtime::paired_bootstrap(values_a, values_b, kResamples, 1);
  if (json) {
    nlohmann::ordered_json out = {{"first", first.string()},
                                  {"second", second.string()},
                                  {"users", values_a.size()},
                                  {"resamples", kResamples},
                                  {"metrics", nlohmann::ordered_json::object()}};
    for (std::size_t m = 0; m < differences.size(); ++m) {
      const auto& d = differences[m];
      out["metrics"][a.metrics[m]] = {{"first", d.first}, {"second", d.second}, {"difference", d.second - d.first},
                                      {"low", d.low},     {"high", d.high},     {"p", d.p}};
    }
    print_json(out);
    return 0;
  }
  runtime::say(stdout, fmt::format("A   {}\nB   {}\n{} users, {} resamples of them; the interval holds 95 % of B - A",
                                   first.string(), second.string(), values_a.size(), kResamples));
  std::printf("\n%-14s %8s %8s %9s   %-20s %s\n", "", "A", "B", "B - A", "interval", "p");
  for (std::size_t m = 0; m < differences.size(); ++m) {
    const auto& d = differences[m];
    std::printf("%-14s %8.4f %8.4f %+9.4f   %+.4f to %+.4f   %.4f\n", a.metrics[m].c_str(), d.first, d.second,
                d.second - d.first, d.low, d.high, d.p);
  }
  return 0;
}

}  // namespace tradewind::launcher
