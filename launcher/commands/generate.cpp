#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/prompts.h"
#include "launcher/waiting.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Text from a trained model.

usage: tradewind generate RUN [options]

  RUN              a run directory
  --prompt TEXT    how the text begins
  --prompts FILE   a prompt a line, as JSON: {"prompt": "..."}; - reads standard
                   input and answers as it comes. Each answer is the line with
                   "text", "generated" (tokens) and "end" (stop or length), in
                   the order of the lines. A line may have its own "tokens",
                   "temperature", "top_k" and "top_p"
  --batch N        with --prompts: how many at once (default 8); no text
                   depends on it
  --tokens N       length (default 200)
  --temperature T  below 1 is surer, above 1 more varied, 0 takes the likeliest
                   token (default 1)
  --top-k K        only the K likeliest tokens; 0: all (default)
  --top-p P        only the likeliest tokens that together have the
                   probability P (default 1: all)
  --seed S         the same seed gives the same text (default 1)
  --samples N      how many texts (default 1)
  --stream         print while it is being generated
  --json           print one JSON object
  --checkpoint C   last (default), best, or the step of one

examples:
  tradewind generate runs/gpt-shakespeare --prompt "ROMEO:" --stream
  tradewind generate runs/product-copy --samples 3 --temperature 0.7
  tradewind generate runs/product-copy --prompts titles.jsonl > copy.jsonl
)";

struct GenerateOptions {
  std::filesystem::path run;
  std::string checkpoint = "last";
  std::string prompt;
  std::int64_t tokens = 200;
  double temperature = 1.0;  // 0: greedy
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;
  std::uint64_t seed = 1;
  std::int64_t samples = 1;
  std::int64_t batch = 8;
  std::string prompts;  // --prompts
  bool stream = false, json = false;
};

void check(const GenerateOptions& o) {
  if (o.tokens < 1) throw ConfigError("--tokens must be at least 1");
  if (!(o.temperature >= 0)) throw ConfigError("--temperature must not be negative");
  if (o.top_k < 0) throw ConfigError("--top-k must not be negative; 0 keeps every token");
  if (!(o.top_p > 0 && o.top_p <= 1)) throw ConfigError("--top-p must lie above 0 and not above 1");
  if (o.samples < 1) throw ConfigError("--samples must be at least 1");
  if (o.batch < 1) throw ConfigError("--batch must be at least 1");
  if (!o.prompts.empty() && (!o.prompt.empty() || o.stream || o.json))
    throw ConfigError(
        "--prompts goes with none of --prompt, --stream and --json: each line is a prompt, and its answer is a line of JSON");
}

void write(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

models::GenerateOptions drawing(const GenerateOptions& options, const LoadedRun& run) {
  return {.tokens = options.tokens,
          .temperature = static_cast<float>(options.temperature),
          .top_k = options.top_k,
          .top_p = static_cast<float>(options.top_p),
          .stop = run.tokenizer->end_of_text()};
}

int print_json(const GenerateOptions& options, const LoadedRun& run) {
  const auto tokens = prompt_tokens(run, options.prompt);  // an empty prompt is refused as without --json
  const nlohmann::ordered_json out = {
      {"run", options.run.string()},
      {"step", run.checkpoint->step()},
      {"prompt", options.prompt},
      {"prompt_tokens", tokens.size()},
      {"seed", options.seed},
      {"texts", sample_texts(run, options.prompt, options.samples, options.seed, drawing(options, run))}};
  write(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  return 0;
}

int generate(const GenerateOptions& options, const models::Registry& registry) {
  check(options);
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const LoadedRun run = load_run(options.run, options.checkpoint, {}, registry);
  auto& model = run.language_model();
  if (options.json) {
    waiting->now("generating");
    return print_json(options, run);
  }
  run.context->step_state().seed = options.seed;
  if (options.stream || !options.prompts.empty())
    waiting.reset();
  else
    waiting->now("generating");
  if (!options.prompts.empty()) {
    const PromptsOptions prompts{
        .from = options.prompts, .batch = options.batch, .samples = options.samples, .generate = drawing(options, run)};
    if (const auto bad = answer_prompts(run, prompts); bad > 0)
      throw DataError(std::to_string(bad) + " lines of " + options.prompts +
                      " were no prompts; each has an \"error\" in the output");
    return 0;
  }
  const auto prompts = models::samples_of(prompt_tokens(run, options.prompt), options.samples);
  std::int64_t current = -1;
  std::string text;
  std::unique_ptr<runtime::StreamDecoder> decoder;
  const auto finish = [&] {
    if (current < 0) return;
    waiting.reset();
    text += decoder->finish() + "\n";
    if (options.samples > 1) text += "\n";
    write(text);
    text.clear();
  };
  const auto begin = [&](std::int64_t sample) {
    finish();
    current = sample;
    decoder = std::make_unique<runtime::StreamDecoder>(*run.tokenizer);
    text = options.prompt;
  };
  models::generate(*run.context, model, prompts, drawing(options, run), [&](std::int64_t sample, std::int32_t token) {
    while (current < sample) begin(current + 1);  // a sample that ended at once has no token
    text += decoder->push(token);
    if (!options.stream) return;
    write(text);
    std::fflush(stdout);
    text.clear();
  });
  while (current + 1 < options.samples) begin(current + 1);
  finish();
  return 0;
}

}  // namespace

int run_generate(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("generate", kHelp);
  GenerateOptions options;
  std::string run;
  line.positional("RUN", run);
  line.option("--checkpoint", options.checkpoint);
  line.option("--prompt", options.prompt);
  line.option("--tokens", options.tokens);
  line.option("--temperature", options.temperature);
  line.option("--top-k", options.top_k);
  line.option("--top-p", options.top_p);
  line.seed(options.seed);
  line.option("--samples", options.samples);
  line.option("--prompts", options.prompts);
  line.option("--batch", options.batch);
  line.flag("--stream", options.stream);
  line.flag("--json", options.json);
  line.parse(arguments, 1);
  if (options.stream && options.json) line.complain("--stream and --json do not go together");
  options.run = run;
  return generate(options, registry);
}

}  // namespace tradewind::launcher
