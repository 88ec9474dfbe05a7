#include "runtime/data/prepared_interactions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <functional>
#include <system_error>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/event_partitions.h"
#include "runtime/data/file_error.h"
#include "runtime/data/mapped_file.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/work_folder.h"
#include "runtime/data/write_at.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKind = "interactions";

/// The keys of [data] that decide what the events come to, by their names.
class KeyValues final : public Fields {
 public:
  void field(std::string_view key, std::int64_t& value, std::string_view, Limits) override { put(key, value); }
  void field(std::string_view key, double& value, std::string_view, Limits) override { put(key, value); }
  void field(std::string_view key, bool& value, std::string_view) override { put(key, value); }
  void field(std::string_view key, std::string& value, std::string_view, std::vector<std::string>) override { put(key, value); }
  void field(std::string_view key, std::vector<std::string>& value, std::string_view) override { put(key, value); }
  json values = json::object();

 protected:
  void begin_section(std::string_view, std::string_view) override {}
  void end_section() override {}

 private:
  template <class T>
  void put(std::string_view key, const T& value) {
    values["data." + std::string(key)] = value;
  }
};

json key_of(InteractionsConfig config, std::uint64_t seed) {
  KeyValues keys;
  config.describe(keys);
  // Not how it is read: where it lies, and what becomes of its samples.
  for (const char* name : {"data.path", "data.validation_path", "data.test_path", "data.prepared", "data.shuffle"})
    keys.values.erase(name);
  // Nor what is said of the items, which is read beside the events.
  for (const char* name : {"data.items", "data.items_format", "data.items_key", "data.item_columns", "data.item_number_columns",
                           "data.list_separator", "data.number_ranges", "data.min_value_items", "data.value_buckets"})
    keys.values.erase(name);
  const bool random = config.split == "ratio" || config.split == "user";
  keys.values["run.seed"] = random ? seed : 0;
  return keys.values;
}

struct Source {
  std::string key, path;
};

std::vector<Source> sources_of(const InteractionsConfig& config) {
  std::vector<Source> out = {{"data.path", config.path}};
  if (!config.validation_path.empty()) out.push_back({"data.validation_path", config.validation_path});
  if (!config.test_path.empty()) out.push_back({"data.test_path", config.test_path});
  return out;
}

std::int64_t modified(const fs::path& file) {
  return static_cast<std::int64_t>(fs::last_write_time(file).time_since_epoch().count());
}

/// Throws DataError, also where the file becomes shorter meanwhile (a mapped one would end the process then).
std::uint64_t checksum_of_file(const fs::path& file) {
  try {
    return std::stoull(InputFile(file).checksum(), nullptr, 16);
  } catch (const CheckpointError& e) {
    throw DataError(e.what());
  }
}

/// It is there, and can be read twice: for its checksum, and to prepare.
void check_source(const Source& source) {
  std::error_code missing;
  const fs::file_status status = fs::status(source.path, missing);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status))
    throw DataError(fmt::format("{} = \"{}\" is no file, and what is prepared is read twice. Write it to a file, and name that",
                                source.key, source.path));
  ByteStream::open(source.path, source.key);  // says what is wrong
}

json description_of(const Source& source) {
  return {{"key", source.key},
          {"path", source.path},
          {"bytes", fs::file_size(source.path)},
          {"modified", modified(source.path)},
          {"checksum", checksum_of_file(source.path)}};
}

/// What was prepared otherwise: "data.repeats = "keep", but was "first""; "" where nothing was.
std::string difference(const json& now, const json& then) {
  const json defaults = key_of({}, 0);
  for (const auto& [key, value] : now.items()) {
    const json before = then.value(key, defaults.at(key));  // a key that is younger than the file
    if (before != value) return fmt::format("{} = {}, but was {}", key, value.dump(), before.dump());
  }
  return "";
}

/// By time of change, else by contents.
bool is_same(const Source& source, const json& then) {
  if (fs::file_size(source.path) != then.at("bytes").get<std::uint64_t>()) return false;
  return modified(source.path) == then.at("modified").get<std::int64_t>() ||
         checksum_of_file(source.path) == then.at("checksum").get<std::uint64_t>();
}

void check_kind(const PreparedFile& file) {
  if (file.description().value("kind", "text") != kKind)
    throw DataError(fmt::format("{} holds a prepared text, and the model reads events. Name another file with data.prepared",
                                file.path().string()));
}

struct Stopped {};

/// Hands events on and looks up now and then.
class Watched final : public EventTaker {
 public:
  Watched(EventTaker& to, std::function<void()> look) : to_(to), look_(std::move(look)) {}
  void take(const EventArrays& events, const Vocabulary& users, int unit) override {
    look_();
    to_.take(events, users, unit);
  }

 private:
  EventTaker& to_;
  std::function<void()> look_;
};

/// Bytes that become an array of the file.
struct Contents {
  PreparedArray array;
  std::span<const std::byte> bytes;
};

template <class T>
Contents contents_of(const char* name, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {.array = {.name = name,
                    .bytes_each = static_cast<int>(sizeof(T)),
                    .count = static_cast<std::int64_t>(values.size()),
                    .checksum = XXH3_64bits(bytes.data(), bytes.size())},
          .bytes = bytes};
}

void write_contents(const fs::path& file, const std::vector<Contents>& contents, const std::vector<PreparedArray>& arrays) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor, [](const int* d) { ::close(*d); });
  const auto fail = [&](const char* doing) { throw file_error(doing, file, errno); };
  if (descriptor < 0) fail("opening");
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const auto bytes = contents[i].bytes;
    if (!write_at(descriptor, arrays[i].offset, bytes.data(), bytes.size())) fail("writing");
  }
  if (::fsync(descriptor) != 0) fail("syncing");
}

void write_file(const fs::path& file, const Interactions& data, const json& description) {
  const std::string_view users = data.users->mapped_bytes();  // they may be more than memory holds
  const std::string items = data.items->serialised();
  std::vector<Contents> contents = {contents_of("/events/offsets", data.offsets.span()),
                                    contents_of("/events/item", data.item.span()),
                                    contents_of("/events/part", data.part.span())};
  if (!data.time.empty()) contents.push_back(contents_of("/events/time", data.time.span()));
  contents.push_back(contents_of("/users", std::span(users)));
  contents.push_back(contents_of("/items", std::span(items)));
  std::vector<PreparedArray> arrays;
  arrays.reserve(contents.size());
  for (const Contents& one : contents) arrays.push_back(one.array);
  create_prepared(file, json(), description, arrays);
  write_contents(file, contents, arrays);
  const PreparedFile again(file);  // compares checksums
}

/// JSON and HDF5's texts are UTF-8; kinds of events may be bytes that are not.
std::string in_utf8(const std::string& text) {
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace));
}

bool prepared_before(const fs::path& to, const json& key, const std::vector<Source>& sources, bool fresh) {
  if (!fs::exists(to)) return false;
  if (!is_prepared(to))
    throw DataError(
        fmt::format("{} is there and is no prepared data set. Remove it, or choose another file with --to", to.string()));
  if (fresh) return false;
  const PreparedFile before(to);
  check_kind(before);
  if (const std::string other = difference(key, before.description().at("key")); !other.empty())
    throw DataError(fmt::format("{} was prepared otherwise: {}. Prepare it anew with --fresh, or choose another file with --to",
                                to.string(), other));
  const json& then = before.description().at("sources");
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (i >= then.size() || !is_same(sources[i], then[i]))
      throw DataError(fmt::format("{} has changed since {} was prepared of it. Prepare it anew with --fresh", sources[i].path,
                                  to.string()));
  return true;
}

}  // namespace

Prepared prepare_interactions(const InteractionsConfig& config, std::uint64_t seed, const PrepareOptions& options,
                              PrepareObserver& observer, int partitions) {
  config.check();
  const json key = key_of(config, seed);
  const auto sources = sources_of(config);
  for (const Source& source : sources) check_source(source);
  if (prepared_before(options.to, key, sources, options.fresh)) return Prepared::kBefore;
  fs::path folder = options.to;
  folder += ".unfinished";
  const WorkFolder work(folder, options.fresh);
  if (work.was_there()) observer.on_note("the last prepare of it ended before it was done; this one begins anew");
  try {
    observer.on_progress("reading " + config.path, 0, 0);
    const auto look = [&] {
      if (observer.stop_requested()) throw Stopped();
    };
    EventsOnDisk events(work.path(), partitions, look);
    Watched watched(events, look);
    ThrowProblems sink;
    json descriptions = json::array();
    for (const Source& source : sources) descriptions.push_back(description_of(source));
    const EventLog log = read_events(config, sink, false, &watched);
    observer.on_progress("putting users' events in order", 0, 0);
    events.order(log.time_unit);
    ScratchSpace space(work.path());
    const Interactions data = build_interactions(log, events, config, seed, nullptr, space).data;
    for (std::size_t i = 0; i < sources.size(); ++i)
      if (!is_same(sources[i], descriptions[i]))
        throw DataError(fmt::format("{} changed while it was read. Prepare it once more when it is whole", sources[i].path));
    look();
    observer.on_progress("writing " + options.to.string(), 0, 0);
    const std::string summary = in_utf8(data.summary);
    const fs::path file = work.path() / "prepared.h5";
    write_file(file, data,
               {{"kind", kKind}, {"key", key}, {"sources", descriptions}, {"summary", summary}, {"checksum", data.checksum}});
    fs::rename(file, options.to);
    sync_directory(options.to.has_parent_path() ? options.to.parent_path() : fs::path("."));
    observer.on_note(summary);
    return Prepared::kNow;
  } catch (const Stopped&) {
    return Prepared::kStopped;
  } catch (const CheckpointError& e) {  // what checkpoint/files.h throws
    throw DataError(e.what());
  } catch (const fs::filesystem_error& e) {
    throw DataError(e.what());
  }
}

Interactions open_prepared_interactions(const InteractionsConfig& config, std::uint64_t seed, const Vocabulary* existing_users,
                                        const Vocabulary* existing_items) {
  config.check();
  const PreparedFile file(config.prepared);
  check_kind(file);
  const json& description = file.description();
  if (const std::string other = difference(key_of(config, seed), description.at("key")); !other.empty())
    throw ConfigError(
        fmt::format("{} was prepared otherwise: {}. Set it back, or prepare it again: tradewind prepare RECIPE --fresh",
                    config.prepared, other));
  const auto sources = sources_of(config);
  const json& then = description.at("sources");
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto& [key, path] = sources[i];
    const fs::path before = i < then.size() ? then[i].at("path").get<std::string>() : "";
    if (fs::path(path).filename() != before.filename())
      throw ConfigError(
          fmt::format("{} = \"{}\", but {} was prepared of \"{}\". Set it back, or set data.prepared = \"\" to read the "
                      "table",
                      key, path, config.prepared, before.string()));
    if (fs::exists(path) && !is_same(sources[i], then[i]))
      throw DataError(
          fmt::format("{} has changed since {} was prepared of it. Prepare it again: tradewind prepare RECIPE --fresh", path,
                      config.prepared));
  }
  const auto [bytes, owner] = map_file(config.prepared);
  const auto span_of = [&, all = bytes]<class T>(const char* name, T) -> std::span<const T> {
    for (const PreparedArray& array : file.arrays()) {
      if (array.name != name) continue;
      require(array.bytes_each == sizeof(T) && array.offset % alignof(T) == 0, "open_prepared_interactions",
              "an array is not as it was written");
      return {reinterpret_cast<const T*>(all.data() + array.offset), static_cast<std::size_t>(array.count)};
    }
    return {};
  };
  const auto vocabulary = [&, keeper = owner](const char* name) {
    const auto text = span_of(name, char{});
    return std::make_shared<const Vocabulary>(Vocabulary::mapped({text.data(), text.size()}, keeper, config.prepared));
  };
  Interactions data;
  data.users = vocabulary("/users");
  data.items = vocabulary("/items");
  data.offsets = Column<std::int64_t>::read_only(span_of("/events/offsets", std::int64_t{}), owner);
  data.item = Column<std::int32_t>::read_only(span_of("/events/item", std::int32_t{}), owner);
  data.time = Column<std::int64_t>::read_only(span_of("/events/time", std::int64_t{}), owner);
  data.part = Column<Part>::read_only(span_of("/events/part", Part{}), owner);
  data.checksum = description.at("checksum");
  data.summary = fmt::format("{}, prepared\n{}", config.prepared, description.at("summary").get<std::string>());
  const auto is_other = [](const Vocabulary* existing, const Vocabulary& now) {
    return existing != nullptr && existing->checksum() != now.checksum();
  };
  if (is_other(existing_users, *data.users) || is_other(existing_items, *data.items))
    throw DataError(fmt::format(
        "{} was prepared with other users or items than those of the model. Set data.prepared = \"\" to read the table, "
        "or train anew with --fresh",
        config.prepared));
  return data;
}

}  // namespace tradewind::runtime
