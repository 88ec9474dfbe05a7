// Two models user by user, from what `tradewind evaluate --per-user` wrote.
#pragma once

#include <filesystem>

namespace tradewind::launcher {

/// Prints means, differences, 95 % intervals and p of every metric that both files have. Throws DataError with file and line:
/// no such table, other users in one than in the other, a value that is no number.
int compare_users(const std::filesystem::path& first, const std::filesystem::path& second, bool json);

}  // namespace tradewind::launcher
