// Running a program as a person does: arguments, output, exit code.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace tradewind::tests {

struct Outcome {
  int code = 0;  // 128 + signal where one ended it
  std::string output, errors;
};

inline std::ostream& operator<<(std::ostream& stream, const Outcome& o) {
  return stream << "exit code " << o.code << "\n--- output\n" << o.output << "--- errors\n" << o.errors << "---\n";
}

inline std::string text_of(const std::filesystem::path& file) {
  std::ostringstream all;
  all << std::ifstream(file, std::ios::binary).rdbuf();
  return all.str();
}

/// A program that runs in `folder`, its output in files there. `file_bytes`: no file of its may grow longer, as on a full
/// disk; 0: any.
class Command {
 public:
  Command(const std::vector<std::string>& arguments, const std::filesystem::path& folder, const std::string& locale = "C.UTF-8",
          std::uint64_t file_bytes = 0)
      : out_(folder / "stdout.captured"), errors_(folder / "stderr.captured") {
    std::vector<char*> pointers;
    for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    process_ = fork();
    if (process_ < 0) throw std::runtime_error("fork");
    if (process_ != 0) return;
    const int out = ::open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int errors = ::open(errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    setenv("LC_ALL", locale.c_str(), 1);
    if (file_bytes > 0) {
      const struct rlimit limit = {.rlim_cur = file_bytes, .rlim_max = file_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_IGN);  // write() then says EFBIG
    }
    if (chdir(folder.c_str()) == 0 && dup2(out, 1) == 1 && dup2(errors, 2) == 2) execv(pointers[0], pointers.data());
    _exit(127);
  }
  ~Command() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  pid_t process() const { return process_; }
  void signal(int number) const {
    if (process_ > 0) ::kill(process_, number);
  }
  std::string output() const { return text_of(out_); }
  bool running() {
    if (process_ > 0 && waitpid(process_, &status_, WNOHANG) == process_) process_ = 0;
    return process_ > 0;
  }
  /// True once it has ended; false where it still runs after `seconds`.
  bool ends_within(double seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (running()) {
      if (std::chrono::steady_clock::now() >= until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  Outcome wait() {
    if (process_ > 0) waitpid(process_, &status_, 0);
    process_ = 0;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), text_of(out_), text_of(errors_)};
  }

 private:
  std::filesystem::path out_, errors_;
  pid_t process_ = 0;
  int status_ = 0;
};

}  // namespace tradewind::tests
