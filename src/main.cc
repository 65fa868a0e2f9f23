#include "cli/main.h"

int main(int argc, char** argv) { return kasane::cli::run(argc, argv); }
