// Synthetic product copy: a text to try Tradewind on without a shop's own.
#pragma once

#include <cstdint>
#include <string>

namespace tradewind::runtime {

/// `documents` product descriptions in UTF-8, about 360 bytes each, for data.documents = "blank_line": a title, a paragraph, a
/// line of care and a line of price, then a blank line. The same for the same arguments everywhere; the first documents are the
/// same whatever their number.
std::string product_copy(std::uint64_t seed, std::int64_t documents);

}  // namespace tradewind::runtime
