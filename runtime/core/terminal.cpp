#include "runtime/core/terminal.h"

#include <sys/ioctl.h>
#include <unicode/uchar.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

int width_of(std::string_view text) {
  int width = 0;
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const Utf8Character c = decode_utf8(at, end);
    at += c.length;
    const int kind = u_getIntPropertyValue(static_cast<UChar32>(c.point), UCHAR_EAST_ASIAN_WIDTH);
    width += kind == U_EA_WIDE || kind == U_EA_FULLWIDTH ? 2 : 1;
  }
  return width;
}

/// `line` in lines of at most `columns`, the first after `first`, the others after `rest`. Spaces within a line stay as they
/// are.
std::string broken(std::string_view line, int columns, const std::string& first, const std::string& rest) {
  std::string out = first;
  int used = width_of(first);
  bool begins = true;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t word_at = std::min(line.find_first_not_of(' ', at), line.size());
    const std::size_t end = std::min(line.find(' ', word_at), line.size());
    const std::string_view gap = line.substr(at, word_at - at), word = line.substr(word_at, end - word_at);
    at = end;
    const int width = width_of(word);
    if (word.empty()) break;
    if (!begins && used + static_cast<int>(gap.size()) + width > columns) {
      out.append("\n").append(rest).append(word);
      used = width_of(rest) + width;
    } else {
      out.append(gap).append(word);
      used += static_cast<int>(gap.size()) + width;
    }
    begins = false;
  }
  return out;
}

}  // namespace

bool on_terminal(std::FILE* stream) {
  const int descriptor = fileno(stream);
  if (isatty(descriptor) != 1) return false;
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return true;
  std::error_code error;
  const auto output =
      std::filesystem::read_symlink("/proc/" + std::to_string(getppid()) + "/fd/" + std::to_string(descriptor), error).string();
  return !error && (output.starts_with("/dev/pts/") || output.starts_with("/dev/tty"));
}

int terminal_columns(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kTextColumns;
  return size.ws_col;
}

std::string wrap_text(std::string_view text, const std::string& indent) {
  std::string words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = std::min(text.find_first_not_of(" \n", at), text.size());
    at = std::min(text.find_first_of(" \n", begin), text.size());
    if (begin < at) words.append(words.empty() ? "" : " ").append(text.substr(begin, at - begin));
  }
  return words.empty() ? "" : broken(words, kTextColumns, indent, indent) + "\n";
}

std::string wrap_lines(std::string_view text, int columns) {
  std::string out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::string indent(std::min(line.find_first_not_of(' '), line.size()), ' ');
    if (at > 0) out += '\n';
    out += broken(line.substr(indent.size()), columns, indent, indent + "  ");
    at = end + 1;
  }
  return out;
}

void say(std::FILE* stream, const std::string& text) {
  const std::string shown = on_terminal(stream) ? wrap_lines(text, std::min(terminal_columns(stream), kTextColumns)) : text;
  std::fprintf(stream, "%s\n", shown.c_str());
}

}  // namespace tradewind::runtime
