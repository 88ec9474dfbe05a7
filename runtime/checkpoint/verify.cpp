#include "runtime/checkpoint/verify.h"

#include <algorithm>
#include <set>

#include "kernels/base/error.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/manifest.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;

std::vector<fs::path> checkpoint_directories(const fs::path& parent) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error))
    if (it->path().filename().string().starts_with("step-")) out.push_back(it->path());
  std::ranges::sort(out, [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename(), y = b.filename();  // past eight digits a name is longer
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return out;
}

CheckpointReport verify_checkpoint(const fs::path& directory) {
  CheckpointReport out{.directory = directory, .problems = {}};
  const auto problem = [&](const std::string& text) { out.problems.push_back(text); };
  detail::Manifest manifest;
  try {
    if (!fs::is_directory(directory)) throw CheckpointError("there is no such directory");
    if (!fs::exists(directory / detail::kManifestName))
      throw CheckpointError(std::string("it has no ") + detail::kManifestName + ", so it was never finished");
    manifest = detail::parse_manifest(InputFile(directory / detail::kManifestName).read_all());
  } catch (const std::exception& e) {
    problem(e.what());
    return out;
  }
  out.step = manifest.step;
  out.world_size = manifest.world_size;
  out.files = manifest.files.size();
  std::set<std::string> known = {detail::kManifestName};
  for (const detail::ManifestFile& expected : manifest.files) {
    known.insert(expected.name);
    out.bytes += expected.bytes;
    try {
      const InputFile file(directory / expected.name);
      if (file.size() != expected.bytes)
        problem(expected.name + " has " + std::to_string(file.size()) + " bytes, the manifest says " +
                std::to_string(expected.bytes));
      else if (file.checksum() != expected.checksum)
        problem(expected.name + " is damaged: its checksum does not match");
    } catch (const std::exception& e) {
      problem(e.what());
    }
  }
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (const std::string name = it->path().filename(); !known.contains(name)) problem(name + " is no file of this checkpoint");
  if (!out.good()) return out;
  try {
    out.tensors = Checkpoint::open(directory, Check::kLayout).names().size();
  } catch (const std::exception& e) {
    problem(e.what());
  }
  return out;
}

}  // namespace tradewind::runtime
