#include "kernels/base/launch.h"

#include <new>

namespace tradewind::kernels {
namespace {

class HeapScratch final : public Scratch {
 public:
  void* acquire(std::size_t bytes) override { return ::operator new (bytes, std::align_val_t{64}); }
  void release(void* pointer, std::size_t) noexcept override { ::operator delete (pointer, std::align_val_t{64}); }
};

}  // namespace

Scratch& heap_scratch() {
  static HeapScratch scratch;  // stateless
  return scratch;
}

}  // namespace tradewind::kernels
