// What both device benchmarks hold their figures against: a GPU's data sheet, and the peer's times.
#pragma once

#include <fstream>
#include <map>
#include <string>

namespace tradewind::benchmarks {

/// What a GPU can do at most, from its maker's data sheet: dense bf16 TFLOP/s, TB/s. 0: not known.
struct Roofline {
  double tflops = 0, terabytes = 0;
};
inline Roofline roofline_of(const std::string& name) {
  if (name.find("H200") != std::string::npos) return {989, 4.8};
  if (name.find("H100 PCIe") != std::string::npos) return {756, 2.0};
  if (name.find("H100") != std::string::npos) return {989, 3.35};
  if (name.find("A100") != std::string::npos) return {312, name.find("80GB") != std::string::npos ? 2.04 : 1.56};
  return {};
}

/// Milliseconds of the peer by the name of the case: what peer.py printed into `file`, nothing where there is no such file.
inline std::map<std::string, double> peer_times(const std::string& file) {
  std::map<std::string, double> times;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab != std::string::npos) times[line.substr(0, tab)] = std::stod(line.substr(tab + 1));
  }
  return times;
}

}  // namespace tradewind::benchmarks
