// The verbs, one file each: what it takes, its help, what it does. A verb gives the exit code; what goes wrong is an Error.
#pragma once

#include "launcher/command_line.h"
#include "models/registry.h"

namespace tradewind::launcher {

int run_check(const Arguments& arguments, const models::Registry& registry);
int run_prepare(const Arguments& arguments, const models::Registry& registry);
int run_train(const Arguments& arguments, const models::Registry& registry);
int run_evaluate(const Arguments& arguments, const models::Registry& registry);
int run_generate(const Arguments& arguments, const models::Registry& registry);
int run_import(const Arguments& arguments, const models::Registry& registry);
int run_recommend(const Arguments& arguments, const models::Registry& registry);
int run_predict(const Arguments& arguments, const models::Registry& registry);
int run_similar(const Arguments& arguments, const models::Registry& registry);
int run_export(const Arguments& arguments, const models::Registry& registry);
int run_verify(const Arguments& arguments, const models::Registry& registry);
int run_config(const Arguments& arguments, const models::Registry& registry);
int run_demo_shop(const Arguments& arguments, const models::Registry& registry);
int run_demo_text(const Arguments& arguments, const models::Registry& registry);
int run_inspect(const Arguments& arguments, const models::Registry& registry);
int run_compare(const Arguments& arguments, const models::Registry& registry);
int run_report(const Arguments& arguments, const models::Registry& registry);
int run_completion(const Arguments& arguments, const models::Registry& registry);
int run_help(const Arguments& arguments, const models::Registry& registry);
int run_env(const Arguments& arguments, const models::Registry& registry);

}  // namespace tradewind::launcher
