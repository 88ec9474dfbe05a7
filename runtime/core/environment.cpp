#include "runtime/core/environment.h"

#include <H5public.h>
#include <fmt/format.h>
#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <fstream>
#include <sstream>

#include "kernels/base/isa.h"

namespace tradewind::runtime {
namespace {

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name"))
      if (const std::size_t at = line.find(": "); at != std::string::npos) return line.substr(at + 2);
  return "unknown";
}

std::string dotted(int major, int minor, int patch) { return fmt::format("{}.{}.{}", major, minor, patch); }

nlohmann::ordered_json describe_gpu(const Context& context) {
  const kernels::DeviceFacts facts = kernels::cuda_runtime().facts(context.device().index);
  return {{"name", facts.name},
          {"compute_capability", std::to_string(facts.major) + "." + std::to_string(facts.minor)},
          {"memory_bytes", facts.memory_bytes},
          {"driver_cuda", facts.driver},
          {"build_cuda", facts.runtime},
          {"precision", kernels::name_of(context.compute_type())}};
}

}  // namespace

std::string version() { return TRADEWIND_VERSION; }
std::string build() { return TRADEWIND_BUILD; }

std::string describe_build() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  const std::string program = std::move(bytes).str();
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const dnnl_version_t* dnnl = dnnl_version();
  return fmt::format("Tradewind {} {}\nexecutable {:016x}\noneDNN {}.{}.{}\nHDF5 {}.{}.{}\ninstruction set {}\n", version(),
                     build(), XXH3_64bits(program.data(), program.size()), dnnl->major, dnnl->minor, dnnl->patch, major, minor,
                     release, kernels::active_isa());
}

std::size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  if (!(in >> total >> resident)) return 0;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

nlohmann::ordered_json describe_environment(const Context& context) {
  utsname system{};
  uname(&system);
  nlohmann::ordered_json out;
  out["version"] = version();
  out["build"] = build();
  out["compiler"] = std::string("g++ ") + __VERSION__;
  auto& libraries = out["libraries"];
  libraries["onednn"] = dotted(DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
  libraries["highway"] = dotted(HWY_MAJOR, HWY_MINOR, HWY_PATCH);
  libraries["hdf5"] = dotted(H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
  libraries["zstd"] = ZSTD_versionString();
  libraries["xxhash"] = dotted(XXH_VERSION_MAJOR, XXH_VERSION_MINOR, XXH_VERSION_RELEASE);
  out["device"] = context.device().type == DeviceType::kCpu ? "cpu" : "cuda";
  if (context.device().type == DeviceType::kCuda) out["gpu"] = describe_gpu(context);
  out["isa"] = kernels::active_isa();
  out["threads"] = context.threads();
  out["cpu"] = cpu_model();
  out["cores"] = available_cores();
  out["memory_bytes"] = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  out["host"] = system.nodename;
  out["system"] = std::string(system.sysname) + " " + system.release + " " + system.machine;
  return out;
}

}  // namespace tradewind::runtime
