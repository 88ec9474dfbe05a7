#include "runtime/data/batch.h"

namespace tradewind::runtime {

const Tensor& Batch::operator[](const std::string& name) const {
  const auto found = fields.find(name);
  if (found == fields.end()) throw InternalError("Batch: no field \"" + name + "\"");
  return found->second;
}

}  // namespace tradewind::runtime
