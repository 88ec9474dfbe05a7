#include "launcher/prompts.h"

#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace tradewind::launcher {

using Json = nlohmann::ordered_json;

namespace {

/// Lines of a file or of standard input, read by a thread of their own so that sequences go on growing while nobody writes. The
/// thread may wait in a read of standard input that nobody can call back, so it is let go, and shares what it uses.
class Lines {
 public:
  explicit Lines(const std::string& from) : queue_(std::make_shared<Queue>()) {
    if (from != "-") {
      queue_->file.open(from, std::ios::binary);
      if (!queue_->file)
        throw DataError("cannot read " + from + "; --prompts takes a file of JSON lines, or - for standard input");
    }
    std::thread([queue = queue_] { read(*queue); }).detach();
  }
  ~Lines() {
    {
      const std::lock_guard lock(queue_->mutex);
      queue_->stop = true;
    }
    queue_->changed.notify_all();
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  /// The next line. Nothing: there is none now (or, with `wait`, there will be none).
  std::optional<std::string> take(bool wait) {
    Queue& queue = *queue_;
    std::unique_lock lock(queue.mutex);
    if (wait) queue.changed.wait(lock, [&] { return queue.ended || !queue.lines.empty(); });
    if (queue.lines.empty()) return {};
    std::string line = std::move(queue.lines.front());
    queue.lines.pop_front();
    queue.changed.notify_all();
    return line;
  }

 private:
  static constexpr std::size_t kAhead = 1024;

  struct Queue {
    std::ifstream file;  // closed: standard input
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::string> lines;
    bool stop = false, ended = false;
  };

  static void read(Queue& queue) {
    std::istream& in = queue.file.is_open() ? static_cast<std::istream&>(queue.file) : std::cin;
    std::string line;
    while (std::getline(in, line)) {
      std::unique_lock lock(queue.mutex);
      queue.changed.wait(lock, [&] { return queue.stop || queue.lines.size() < kAhead; });
      if (queue.stop) break;
      queue.lines.push_back(std::move(line));
      queue.changed.notify_all();
    }
    const std::lock_guard lock(queue.mutex);
    queue.ended = true;
    queue.changed.notify_all();
  }

  std::shared_ptr<Queue> queue_;
};

/// A number of a line within its limits, or what the command line says.
template <class T>
T number_of(const Json& line, const char* key, T otherwise, double least, double most) {
  const auto found = line.find(key);
  if (found == line.end()) return otherwise;
  const bool fits = std::is_integral_v<T> ? found->is_number_integer() : found->is_number();
  const double value = fits ? found->template get<double>() : 0;
  if (!fits || !(value >= least && value <= most))
    throw DataError(std::string("\"") + key + "\" is " + found->dump() + "; it must be " +
                    (std::is_integral_v<T> ? "a whole number" : "a number") + " of at least " + std::to_string(least) +
                    " and at most " + std::to_string(most));
  return found->template get<T>();
}

models::GenerateOptions options_of(const Json& line, models::GenerateOptions out) {
  out.tokens = number_of<std::int64_t>(line, "tokens", out.tokens, 1, 1e9);
  out.temperature = number_of<float>(line, "temperature", out.temperature, 0, 1e6);
  out.top_k = number_of<std::int64_t>(line, "top_k", out.top_k, 0, 1e9);
  out.top_p = number_of<float>(line, "top_p", out.top_p, 1e-9, 1);
  return out;
}

class Answers {
 public:
  Answers(const LoadedRun& run, const PromptsOptions& options)
      : run_(run), options_(options), lines_(options.from), generator_(*run.context, run.language_model(), options.batch) {}

  std::int64_t run() {
    while (true) {
      fill();
      write();
      if (generator_.empty()) break;  // fill() has waited: nothing more comes
      generator_.step(
          [this](std::int64_t id, std::int32_t token) {
            Answer& a = waiting_.at(id);
            a.text += a.decoder->push(token);
            ++a.generated;
          },
          [this](std::int64_t id, models::Generator::End end) {
            Answer& a = waiting_.at(id);
            a.text += a.decoder->finish();
            a.done = true;
            a.line["text"] = a.text;
            a.line["generated"] = a.generated;
            a.line["end"] = end == models::Generator::End::kStopped ? "stop" : "length";
          });
    }
    return bad_;
  }

 private:
  struct Answer {
    Json line;
    std::vector<std::int32_t> tokens;
    models::GenerateOptions options;
    std::uint64_t sample = 0;
    std::unique_ptr<runtime::StreamDecoder> decoder;
    std::string text;
    std::int64_t generated = 0;
    bool done = false;
  };

  /// Starts what there is room for.
  void fill() {
    while (!generator_.full()) {
      if (next_start_ == next_read_) {
        if (generator_.empty()) write();  // nobody shall wait for an answer while this waits for a line
        const auto line = lines_.take(generator_.empty());
        if (!line) return;
        ++number_;
        if (line->find_first_not_of(" \t\r") != std::string::npos) read(*line);
        continue;
      }
      const std::int64_t id = next_start_++;
      const Answer& a = waiting_.at(id);
      if (a.done) continue;  // an error
      generator_.add(id, {a.tokens, models::draw_key(a.tokens, a.sample)}, a.options);
    }
  }

  void read(const std::string& text) {
    try {
      const Json line = Json::parse(text);
      if (!line.is_object() || !line.contains("prompt") || !line.at("prompt").is_string())
        throw DataError("there is no \"prompt\" with a text");
      const auto tokens = prompt_tokens(run_, line.at("prompt").get<std::string>());
      for (std::int64_t sample = 0; sample < options_.samples; ++sample) {
        Answer a;
        a.line = line;
        a.tokens = tokens;
        a.options = options_of(line, options_.generate);
        a.sample = static_cast<std::uint64_t>(sample);
        a.decoder = std::make_unique<runtime::StreamDecoder>(*run_.tokenizer);
        if (options_.samples > 1) a.line["sample"] = sample;
        waiting_.emplace(next_read_++, std::move(a));
      }
    } catch (const nlohmann::json::exception& e) {
      complain(std::string("it is no JSON: ") + e.what());
    } catch (const Error& e) {
      complain(e.what());
    }
  }

  void complain(const std::string& what) {
    ++bad_;
    Answer a;
    a.done = true;
    a.line = {{"line", number_}, {"error", what}};
    waiting_.emplace(next_read_++, std::move(a));
  }

  /// What is done and whose turn it is.
  void write() {
    bool wrote = false;
    for (auto at = waiting_.find(next_write_); at != waiting_.end() && at->second.done; at = waiting_.find(next_write_)) {
      const std::string text = at->second.line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      std::fwrite(text.data(), 1, text.size(), stdout);
      waiting_.erase(at);
      ++next_write_;
      wrote = true;
    }
    if (wrote && std::fflush(stdout) != 0)
      throw DataError("standard output could not be written; is the disk full, or has its reader gone?");
  }

  const LoadedRun& run_;
  const PromptsOptions& options_;
  Lines lines_;
  models::Generator generator_;
  std::map<std::int64_t, Answer> waiting_;
  std::int64_t next_read_ = 0, next_start_ = 0, next_write_ = 0, number_ = 0, bad_ = 0;
};

}  // namespace

std::int64_t answer_prompts(const LoadedRun& run, const PromptsOptions& options) { return Answers(run, options).run(); }

}  // namespace tradewind::launcher
