#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "launcher/session.h"
#include "runtime/checkpoint/hdf5_list.h"
#include "runtime/checkpoint/verify.h"
#include "runtime/core/terminal.h"
#include "runtime/data/prepared_file.h"
#include "runtime/train/run_record.h"

namespace tradewind::launcher {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const char* const kHelp = R"(What a config, a run, a checkpoint or an HDF5 file holds.

usage: tradewind inspect PATH [--json]

  PATH    a config file, a run directory, one checkpoint of it, or what
          `tradewind export` or `tradewind prepare` has written
  --json  print one JSON object

Checkpoints are read to the last byte: exit code 4 where one is damaged.

examples:
  tradewind inspect runs/gpt-shakespeare
  tradewind inspect runs/gpt-shakespeare/checkpoints/step-00002000
  tradewind inspect model.h5 --json
)";

ordered_json inspect_config(const fs::path& path, const models::Registry& registry) {
  RunConfig config = read_run_config(path, {}, registry);
  return {{"kind", "config"}, {"path", path.string()}, {"model", config.model_name}, {"config", config.text()}};
}

ordered_json inspect_checkpoint(const fs::path& path) {
  const auto report = runtime::verify_checkpoint(path);
  ordered_json out = {{"kind", "checkpoint"},  {"path", path.string()},      {"good", report.good()},
                      {"step", report.step},   {"ranks", report.world_size}, {"files", report.files},
                      {"bytes", report.bytes}, {"problems", report.problems}};
  if (!report.good()) return out;
  const auto checkpoint = runtime::Checkpoint::open(path, runtime::Check::kLayout);
  auto& tensors = out["tensors"] = ordered_json::array();
  std::int64_t parameters = 0;
  for (const std::string& name : checkpoint.names()) {
    const auto shape = checkpoint.shape(name);
    const auto dtype = checkpoint.dtype(name);
    if (!name.starts_with("optimizer.") && !name.starts_with("vocabulary.")) parameters += shape.elements();
    tensors.push_back({{"name", name},
                       {"dtype", kernels::name_of(dtype)},
                       {"shape", shape.sizes()},
                       {"bytes", shape.elements() * static_cast<std::int64_t>(kernels::size_of(dtype))}});
  }
  out["parameters"] = parameters;
  out["state"] = ordered_json::object();
  for (const auto& [key, value] : checkpoint.state().items())
    if (!value.is_structured()) out["state"][key] = value;
  return out;
}

ordered_json inspect_run(const fs::path& path) {
  const auto run = runtime::read_run(path);
  ordered_json out = {{"kind", "run"},
                      {"path", path.string()},
                      {"state", run.state},
                      {"version", run.version},
                      {"step", run.step},
                      {"exit_code", run.exit_code},
                      {"seconds", run.seconds},
                      {"training_loss", run.last_loss()},
                      {"median_rate", run.median_rate()},
                      {"rate_unit", run.unit}};
  if (const auto* best = run.best()) {
    out["best"] = {{"step", best->step}, {"validation_loss", best->loss}};
    if (!best->best_by.empty()) out["best"][best->best_by] = best->metric(best->best_by);
  }
  auto& checkpoints = out["checkpoints"] = ordered_json::array();
  bool good = true;
  for (const fs::path& directory : runtime::checkpoint_directories(path / "checkpoints")) {
    const auto report = runtime::verify_checkpoint(directory);
    good = good && report.good();
    checkpoints.push_back({{"path", directory.string()},
                           {"step", report.step},
                           {"good", report.good()},
                           {"bytes", report.bytes},
                           {"tensors", report.tensors},
                           {"problems", report.problems}});
  }
  out["good"] = good;
  out["problems"] = run.problems;
  return out;
}

ordered_json inspect_hdf5(const fs::path& path) {
  const auto contents = runtime::list_hdf5(path);
  ordered_json out = {{"kind", "hdf5"}, {"path", path.string()}};
  for (const auto& [name, value] : contents.attributes) out["attributes"][name] = value;
  auto& datasets = out["datasets"] = ordered_json::array();
  for (const auto& d : contents.datasets)
    datasets.push_back({{"name", d.name}, {"dtype", d.type}, {"shape", d.shape}, {"bytes", d.bytes}});
  return out;
}

/// Read to the last byte; throws where it is damaged.
ordered_json inspect_prepared(const fs::path& path) {
  const runtime::PreparedFile file(path);
  const bool events = file.description().value("kind", "text") == "interactions";
  ordered_json out = {{"kind", events ? "prepared set of events" : "prepared text"},
                      {"path", path.string()},
                      {"version", runtime::kPreparedVersion}};
  for (const char* key : {"summary", "key", "sources"}) out[key] = file.description().at(key);
  auto& datasets = out["datasets"] = ordered_json::array();
  for (const auto& a : file.arrays()) {
    const char* const dtype = a.bytes_each == 1   ? "uint8"
                              : a.bytes_each == 2 ? "uint16"
                              : a.bytes_each == 4 ? "int32"
                                                  : "int64";
    datasets.push_back({{"name", a.name}, {"dtype", dtype}, {"shape", {a.count}}, {"bytes", a.bytes()}});
  }
  return out;
}

bool is_hdf5(const fs::path& path) {
  char head[8] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  return std::equal(head, head + 8, "\x89HDF\r\n\x1a\n");
}

/// A line a tensor: what it is, how large, its name last, as names are long.
void print_tensors(const ordered_json& tensors) {
  for (const auto& t : tensors)
    std::printf("%-9s %-18s %10s  %s\n", t["dtype"].get<std::string>().c_str(), t["shape"].dump().c_str(),
                size_text(t["bytes"].get<std::uint64_t>()).c_str(), t["name"].get<std::string>().c_str());
}

/// Values that stand for themselves, long ones cut.
void print_values(const ordered_json& object) {
  for (const auto& [key, value] : object.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::ranges::replace(text, '\n', ' ');
    const std::size_t room = 80 - std::min<std::size_t>(60, std::max<std::size_t>(25, key.size() + 1));
    if (text.size() > room) text = text.substr(0, room - 3) + "...";
    std::printf("%-24s %s\n", key.c_str(), text.c_str());
  }
}

void print_problems(const ordered_json& problems) {
  for (const auto& problem : problems) runtime::say(stdout, "problem: " + problem.get<std::string>());
}

void print(const ordered_json& out) {
  const auto& kind = out["kind"].get_ref<const std::string&>();
  std::printf("%s, %s\n\n", out["path"].get<std::string>().c_str(), kind == "hdf5" ? "an HDF5 file" : ("a " + kind).c_str());
  if (kind == "config") {
    std::fputs(out["config"].get<std::string>().c_str(), stdout);
  } else if (kind == "hdf5") {
    if (out.contains("attributes")) print_values(out["attributes"]);
    std::printf("\n");
    print_tensors(out["datasets"]);
  } else if (kind.starts_with("prepared ")) {
    runtime::say(stdout, out["summary"].get<std::string>());
    for (const auto& s : out["sources"]) {
      const std::string from = fmt::format("{} bytes of {}", s["bytes"].get<long long>(), s["path"].get<std::string>());
      runtime::say(stdout, s.contains("tokens") ? fmt::format("{}: {} tokens of {}", s["part"].get<std::string>(),
                                                              s["tokens"].get<long long>(), from)
                                                : from);
    }
    std::printf("\n");
    print_values(out["key"]);
    std::printf("\n");
    print_tensors(out["datasets"]);
  } else if (kind == "checkpoint") {
    std::printf("step %lld, %lld files of %lld rank%s, %s, every byte %s\n", out["step"].get<long long>(),
                out["files"].get<long long>(), out["ranks"].get<long long>(), out["ranks"] == 1 ? "" : "s",
                size_text(out["bytes"].get<std::uint64_t>()).c_str(),
                out["good"].get<bool>() ? "as it was written" : "NOT as it was written");
    print_problems(out["problems"]);
    if (!out["good"].get<bool>()) return;
    std::printf("%lld parameters\n\n", out["parameters"].get<long long>());
    print_values(out["state"]);
    std::printf("\n");
    print_tensors(out["tensors"]);
  } else {
    runtime::say(stdout, fmt::format("{:<16} {} at step {} (exit code {}), {:.0f} s, version {}", "state",
                                     out["state"].get<std::string>(), out["step"].get<long long>(), out["exit_code"].get<int>(),
                                     out["seconds"].get<double>(), out["version"].get<std::string>()));
    if (const double loss = out["training_loss"].is_number() ? out["training_loss"].get<double>() : NAN; std::isfinite(loss))
      std::printf("%-16s %.4f, mean of the last 50 steps\n", "training loss", loss);
    if (out.contains("best")) {
      const auto& best = out["best"];
      const std::string by = best.size() > 2 ? std::prev(best.end()).key() : "validation_loss";
      std::printf("%-16s %.4f at step %lld\n", by == "validation_loss" ? "best validation" : ("best " + by).c_str(),
                  best[by].get<double>(), best["step"].get<long long>());
    }
    if (out["median_rate"].get<double>() > 0)
      std::printf("%-16s %.0f %s, median\n", "throughput", out["median_rate"].get<double>(),
                  out["rate_unit"].get<std::string>().c_str());
    for (const auto& c : out["checkpoints"]) {
      std::printf("%-16s %s, %lld tensors, %s\n", fs::path(c["path"].get<std::string>()).filename().c_str(),
                  c["good"].get<bool>() ? "good" : "DAMAGED", c["tensors"].get<long long>(),
                  size_text(c["bytes"].get<std::uint64_t>()).c_str());
      print_problems(c["problems"]);
    }
    if (out["checkpoints"].empty()) std::printf("there is no checkpoint yet\n");
    print_problems(out["problems"]);
  }
}

}  // namespace

int run_inspect(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("inspect", kHelp);
  std::string given;
  bool json = false;
  line.positional("PATH", given);
  line.flag("--json", json);
  line.parse(arguments, 1);
  fs::path path(given);
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status))
    throw ConfigError("inspect: " + path.string() +
                      (error && status.type() == fs::file_type::none ? ": " + error.message() : " does not exist"));
  ordered_json out;
  if (fs::is_directory(status)) {
    const fs::directory_iterator may_read(path, error);
    if (error) throw ConfigError("inspect: " + path.string() + ": " + error.message() + "; it belongs to somebody else");
    const bool run = fs::exists(path / "config.toml", error) || fs::exists(path / "status.json", error);
    if (!run && !fs::exists(path / "manifest.json", error) && !path.filename().string().starts_with("step-"))
      throw ConfigError("inspect: " + path.string() +
                        " is neither a run directory (it has no config.toml) nor a checkpoint (it has no " + "manifest.json)");
    out = run ? inspect_run(path) : inspect_checkpoint(path);
  } else if (path.extension() == ".toml") {
    out = inspect_config(path, registry);
  } else if (runtime::is_prepared(path)) {
    out = inspect_prepared(path);
  } else if (is_hdf5(path) || path.extension() == ".h5" || path.extension() == ".hdf5") {
    out = inspect_hdf5(path);
  } else {
    throw DataError("inspect: " + path.string() +
                    " is no config (*.toml), no HDF5 file and no directory of a run or a checkpoint");
  }
  json ? print_json(out) : print(out);
  if (!out.value("good", true)) {
    std::fflush(stdout);
    runtime::say(stderr, fmt::format("error: {} is damaged; tradewind verify says what to do", path.string()));
    return static_cast<int>(ExitCode::kCheckpoint);
  }
  return 0;
}

}  // namespace tradewind::launcher
