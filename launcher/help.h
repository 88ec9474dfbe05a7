// What `--help` prints: at most 80 columns, with examples.
#pragma once

namespace tradewind::launcher {

extern const char* const kProgramHelp;
extern const char* const kTrainHelp;
extern const char* const kEvaluateHelp;
extern const char* const kGenerateHelp;
extern const char* const kExportHelp;
extern const char* const kVerifyHelp;
extern const char* const kConfigHelp;
extern const char* const kDemoTextHelp;

}  // namespace tradewind::launcher
