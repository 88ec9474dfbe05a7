// Running a program as a person does: arguments, output, exit code.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace tradewind::tests {

struct Outcome {
  int code = 0;  // 128 + signal where one ended it
  std::string output, errors;
};

/// A program that runs in `folder`, its output in files there.
class Command {
 public:
  Command(const std::vector<std::string>& arguments, const std::filesystem::path& folder, const std::string& locale = "C.UTF-8")
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

  void signal(int number) const { ::kill(process_, number); }
  std::string output() const { return text(out_); }
  bool running() {
    if (process_ > 0 && waitpid(process_, &status_, WNOHANG) == process_) process_ = 0;
    return process_ > 0;
  }
  Outcome wait() {
    if (process_ > 0) waitpid(process_, &status_, 0);
    process_ = 0;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), text(out_), text(errors_)};
  }

 private:
  static std::string text(const std::filesystem::path& file) {
    std::ostringstream all;
    all << std::ifstream(file, std::ios::binary).rdbuf();
    return all.str();
  }

  std::filesystem::path out_, errors_;
  pid_t process_ = 0;
  int status_ = 0;
};

}  // namespace tradewind::tests
