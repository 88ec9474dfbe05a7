// Where messages go: a terminal, which somebody reads, or a file or pipe, which a script does.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace tradewind::runtime {

/// Somebody looks at the stream, stdout or stderr. Open MPI gives the ranks of mpirun's own host a pseudo terminal wherever
/// mpirun's output goes, so there its parent's decides: a job's log shall have whole lines.
bool on_terminal(std::FILE* stream);

/// Columns of the terminal behind a stream; 80 where it does not say, or there is none.
int terminal_columns(std::FILE* stream);

/// Width of what is printed to read: help, config files, messages on a terminal.
inline constexpr int kTextColumns = 80;

/// The words of a text in lines of at most kTextColumns, each after `indent` and with a newline; empty where there are no
/// words. A longer word, as a path may be, stays whole. Wide East Asian characters count two.
std::string wrap_text(std::string_view text, const std::string& indent);

/// Each line of a text that is longer than `columns` broken at spaces likewise; what follows is indented by two more than its
/// line.
std::string wrap_lines(std::string_view text, int columns);

/// `text` and a newline: on a terminal wrapped to kTextColumns or what it has, elsewhere as it is, so that one message is one
/// line for grep.
void say(std::FILE* stream, const std::string& text);

}  // namespace tradewind::runtime
