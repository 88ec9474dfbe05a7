// Generation served to a pipe: prompts as JSON lines in, texts as JSON lines out.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

#include "launcher/samples.h"

namespace tradewind::launcher {

struct PromptsOptions {
  std::string from;  // a file of JSON lines; "-": standard input, answered as it comes
  std::int64_t batch = 8;
  std::int64_t samples = 1;
  models::GenerateOptions generate;  // what a line does not say itself
};

/// Each line is an object with "prompt", and perhaps "tokens", "temperature", "top_k" and "top_p"; whatever else it holds comes
/// back with the answer. Answers are written to standard output in the order of the lines, `samples` for each: the line's keys
/// and "text" (what follows the prompt), "generated" (tokens) and "end" ("stop" or "length"), with "sample" where there are
/// more. A line that is none is answered by {"line", "error"} and the others go on. Returns how many such lines there were.
/// Throws DataError where the file cannot be read.
std::int64_t answer_prompts(const LoadedRun& run, const PromptsOptions& options);

}  // namespace tradewind::launcher
