// "Did you mean": optimal string alignment distance (insert, delete, replace, swap neighbours), and unambiguous beginnings.
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "runtime/config/config.h"

namespace tradewind::runtime {
namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  return cost[a.size()][b.size()];
}

// Two edits in a word of six letters still show what was meant; in a word of three they make another word.
std::size_t tolerated(const std::string& word) { return std::clamp<std::size_t>(word.size() / 3, 1, 3); }

std::string section_of(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}
std::string leaf_of(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string::npos ? key : key.substr(dot + 1);
}

}  // namespace

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = tolerated(word) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    // "ab" is two edits from everything short: an edit for every letter is no likeness.
    if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || word.size() < 3) return best;
  for (const std::string& candidate : candidates)
    if (candidate.starts_with(word)) {
      if (!best.empty()) return "";
      best = candidate;
    }
  return best;
}

std::string did_you_mean_key(const std::string& key, const std::vector<std::string>& keys) {
  const std::string section = section_of(key), leaf = leaf_of(key);
  std::vector<std::string> leaves, sections, elsewhere;
  for (const std::string& known : keys) {
    if (section_of(known) == section) leaves.push_back(leaf_of(known));
    if (leaf_of(known) == leaf) elsewhere.push_back(known);
    sections.push_back(section_of(known));
  }
  const auto join = [](const std::string& a, const std::string& b) { return a.empty() ? b : a + "." + b; };
  // The right section with a slip in the name; a slip in the section; the right name in the wrong section.
  if (const std::string near = did_you_mean(leaf, leaves); !near.empty()) return join(section, near);
  if (const std::string near = section.empty() ? "" : did_you_mean(section, sections); !near.empty())
    for (const std::string& candidate : elsewhere)
      if (section_of(candidate) == near) return candidate;
  if (elsewhere.size() == 1) return elsewhere.front();
  return did_you_mean(key, keys);
}

std::string suggestion_text(const std::string& suggestion) {
  return suggestion.empty() ? "" : "; did you mean \"" + suggestion + "\"?";
}

}  // namespace tradewind::runtime
