#include "runtime/core/context.h"

#include <sched.h>

#include <thread>

namespace tradewind::runtime {

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

Context::Context(Device device, int threads, std::uint64_t seed)
    : device_(device), threads_(threads > 0 ? threads : available_cores()) {
  if (device.type == DeviceType::kCuda)
    throw DeviceError("device = \"cuda\": this version's runtime knows CPUs only; set device = \"cpu\" or \"auto\"");
  allocator_ = make_cpu_allocator();
  step_state_.seed = seed;
}

kernels::Launch Context::launch() const {
  return {.device = device_,
          .stream = nullptr,
          .scratch = allocator_.get(),
          .step = &step_state_,
          .threads = threads_,
          .stable_rows = stable_rows_};
}

}  // namespace tradewind::runtime
