#include "launcher/run.h"

int main(int argc, char** argv) { return tradewind::launcher::run(argc, argv, tradewind::models::builtin_registry()); }
