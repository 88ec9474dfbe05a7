#include "runtime/data/batch.h"

#include "runtime/core/context.h"
#include "runtime/core/transfer.h"

namespace tradewind::runtime {

const Tensor& Batch::operator[](const std::string& name) const {
  const auto found = fields.find(name);
  if (found == fields.end()) throw InternalError("Batch: no field \"" + name + "\"");
  return found->second;
}

const Tensor& Batch::on_host(const std::string& name) const {
  const auto kept = host_fields.find(name);
  const Tensor& found = kept != host_fields.end() ? kept->second : (*this)[name];
  require(found.on_host(), "Batch::on_host", "the field is on a GPU alone");
  return found;
}

Batch on_device(Context& context, const Batch& batch) {
  if (context.device().type == DeviceType::kCpu) return batch;
  Batch out = batch;
  for (auto& [name, tensor] : out.fields) {
    if (!tensor.on_host()) continue;
    out.host_fields[name] = tensor;
    tensor = on_device(context, tensor, Purpose::kBatch);
  }
  return out;
}

}  // namespace tradewind::runtime
