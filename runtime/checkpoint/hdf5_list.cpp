#include "runtime/checkpoint/hdf5_list.h"

#include <fmt/format.h>
#include <exception>

#include "kernels/base/error.h"
#include "runtime/checkpoint/hdf5_driver.h"

namespace tradewind::runtime {
namespace {

/// The id, which must be one.
detail::Handle opened(hid_t id, herr_t (*close)(hid_t), const std::string& what) {
  if (id < 0) throw DataError("reading the HDF5 file: " + what + " failed; the file is damaged or no HDF5");
  return {id, close};
}

std::string type_name(hid_t type) {
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_FLOAT: return fmt::format("float{}", bits);
    case H5T_INTEGER: return fmt::format("{}int{}", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    case H5T_STRING: return "text";
    case H5T_COMPOUND: return "compound";
    default: return "other";
  }
}

struct Walk {
  Hdf5Contents& out;
  std::exception_ptr failure;
};

Hdf5Dataset describe(hid_t file, const char* name) {
  const auto data = opened(H5Dopen2(file, name, H5P_DEFAULT), H5Dclose, std::string("opening ") + name);
  const auto space = opened(H5Dget_space(data.id()), H5Sclose, std::string("the shape of ") + name);
  const auto type = opened(H5Dget_type(data.id()), H5Tclose, std::string("the type of ") + name);
  Hdf5Dataset out{.name = "/", .type = type_name(type.id()), .shape = {}, .bytes = 0};
  out.name += name;
  const int rank = H5Sget_simple_extent_ndims(space.id());
  std::vector<hsize_t> extent(rank > 0 ? static_cast<std::size_t>(rank) : 0);
  if (rank > 0) H5Sget_simple_extent_dims(space.id(), extent.data(), nullptr);
  out.bytes = static_cast<std::int64_t>(H5Tget_size(type.id()));
  for (const hsize_t n : extent) {
    out.shape.push_back(static_cast<std::int64_t>(n));
    out.bytes *= static_cast<std::int64_t>(n);
  }
  return out;
}

/// No exception may pass through the C library.
herr_t visit_object(hid_t file, const char* name, const H5O_info_t* info, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  try {
    if (info->type == H5O_TYPE_DATASET) walk.out.datasets.push_back(describe(file, name));
    return 0;
  } catch (...) {
    walk.failure = std::current_exception();
    return -1;
  }
}

std::string attribute_text(hid_t attribute) {
  const auto type = opened(H5Aget_type(attribute), H5Tclose, "the type of an attribute");
  if (H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) > 0) {
    char* text = nullptr;
    const auto memory = opened(H5Tcopy(type.id()), H5Tclose, "a type");
    if (H5Aread(attribute, memory.id(), &text) < 0) throw DataError("reading the HDF5 file: an attribute cannot be read");
    std::string out = text == nullptr ? "" : text;
    H5free_memory(text);
    return out;
  }
  if (H5Tget_class(type.id()) == H5T_INTEGER) {
    long long value = 0;
    H5Aread(attribute, H5T_NATIVE_LLONG, &value);
    return std::to_string(value);
  }
  if (H5Tget_class(type.id()) == H5T_FLOAT) {
    double value = 0;
    H5Aread(attribute, H5T_NATIVE_DOUBLE, &value);
    return std::to_string(value);
  }
  return fmt::format("({})", type_name(type.id()));
}

herr_t visit_attribute(hid_t location, const char* name, const H5A_info_t*, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  try {
    const auto attribute = opened(H5Aopen(location, name, H5P_DEFAULT), H5Aclose, std::string("attribute ") + name);
    walk.out.attributes.emplace_back(name, attribute_text(attribute.id()));
    return 0;
  } catch (...) {
    walk.failure = std::current_exception();
    return -1;
  }
}

}  // namespace

Hdf5Contents list_hdf5(const std::filesystem::path& path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const std::string what = path.string() + " is no HDF5 file that can be read: ";
  const auto file = opened(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, what + "opening it");
  Hdf5Contents out;
  Walk walk{.out = out, .failure = nullptr};
  const bool objects = H5Ovisit(file.id(), H5_INDEX_NAME, H5_ITER_INC, visit_object, &walk) >= 0;
  const bool attributes = objects && H5Aiterate2(file.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit_attribute, &walk) >= 0;
  if (walk.failure) std::rethrow_exception(walk.failure);
  if (!attributes) throw DataError(what + "it is damaged; export it again");
  return out;
}

}  // namespace tradewind::runtime
