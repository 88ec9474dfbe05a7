// The file driver that exports write HDF5 through, and RAII for HDF5's ids.
//
// HDF5 1.10 does not survive a full disk: H5Fclose frees the file although flushing it fails, keeps its id, and the next use
// of it, at the latest the library's own clean-up at exit, reads freed memory (seen: a segmentation fault at every file size
// limit tried). So HDF5 never gets to know. It reads and writes through a file driver of ours (ExportDriver) on a descriptor
// that we opened; the first write that fails is remembered, later ones are dropped, and HDF5 is told that all went well and
// closes in order. We look at what was remembered after each tensor and after closing, and throw. For the same reason its
// metadata cache evicts nothing: a block of which the write was dropped is never read again. Having the descriptor, we can
// also sync it, and no file locks are taken, which some cluster file systems refuse.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

namespace tradewind::runtime::detail {

/// What HDF5 hands from the file access properties to ExportFile.
struct ExportDriverInfo {
  int descriptor;
  int* failure;  // errno of the first write that failed, 0 before
};

/// The driver, for H5FDregister. H5Pset_driver takes it with an ExportDriverInfo.
H5FD_class_t export_driver();

/// HDF5's automatic printing of errors, off while this lives.
class QuietErrors {
 public:
  QuietErrors() {
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~QuietErrors() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

/// "H5Dwrite: can't write data: file write failed", from what HDF5 has on its error stack.
std::string hdf5_message();

/// An id of HDF5 and the function that closes it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), close_(closer) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t id() const { return id_; }
  herr_t close() { return close_(std::exchange(id_, -1)); }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

}  // namespace tradewind::runtime::detail
