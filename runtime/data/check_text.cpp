#include "runtime/data/check_text.h"

#include <charconv>

#include "runtime/data/corpus_parts.h"
#include "runtime/data/reader.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

/// Takes "file:line:column: what is wrong" apart, as far as it is so.
DataProblem problem_of(const std::string& file, std::string_view message) {
  DataProblem problem{.kind = "document", .file = {}, .what = std::string(message), .repair = {}};
  if (!message.starts_with(file + ":")) return problem;
  problem.file = file;
  message.remove_prefix(file.size() + 1);
  for (std::int64_t* number : {&problem.line, &problem.column}) {
    const auto [end, error] = std::from_chars(message.data(), message.data() + message.size(), *number);
    const auto length = static_cast<std::size_t>(end - message.data());
    if (error != std::errc{} || length == message.size() || message[length] != ':') break;
    message.remove_prefix(length + 1);
  }
  problem.what = message.substr(std::min(message.find_first_not_of(' '), message.size()));
  return problem;
}

/// Returns a line about the file.
std::string check_file(const DataConfig& config, const std::string& path, const std::string& key, Findings& findings,
                       CheckReport& report) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  DocumentStream stream(path, read_options(config, path, key), kPiece, whole_characters);
  std::int64_t documents = 0;
  for (TextPiece piece; stream.next(piece);)
    for (const TextPiece::Segment& segment : piece.segments) {
      TextPiece one{.text = std::string(piece[segment]), .segments = {{0, segment.end - segment.begin, segment.line, true}}};
      try {
        stream.decode(one);
      } catch (const DataError& error) {
        findings.report(problem_of(stream.name(), error.what()));
        continue;
      }
      if (segment.begins_document && !one.segments.empty()) ++documents;
    }
  report.rows += documents;
  if (documents == 0)
    findings.report({.kind = "no_text", .file = path, .what = "it holds no text", .repair = "Point " + key + " at a text"});
  return fmt::format("{}: {} bytes{}{}, {} document{}", path, with_commas(static_cast<std::int64_t>(stream.position().bytes)),
                     stream.compression().empty() ? "" : " in ", stream.compression(), with_commas(documents),
                     documents == 1 ? "" : "s");
}

}  // namespace

CheckReport check_text(const DataConfig& config, std::size_t examples) {
  if (config.path.empty())
    throw ConfigError("data.path is empty. Set it to the text to look at, e.g. --set data.path=text.txt");
  Findings findings(examples);
  CheckReport report;
  const auto check = [&](const std::string& path, const std::string& key) {
    if (path.empty()) return;
    findings.report_what_ends([&] {
      const std::string line = check_file(config, path, key, findings, report);
      report.summary += (report.summary.empty() ? "" : "\n") + line;
    });
  };
  check(config.path, "data.path");
  check(config.validation_path, "data.validation_path");
  report.findings = findings.finish();
  return report;
}

}  // namespace tradewind::runtime
