// Keeps what llama.cpp logs out of stdout and stderr, and at hand for error messages.

#pragma once

#include <string>

namespace coder_lsp {

// Redirects the log of llama.cpp and ggml, and initialises their backends; idempotent.
void initialise_llama();

// Forgets the errors seen so far: call before an operation whose failure shall be explained.
void forget_errors();

// The errors llama.cpp logged since forget_errors(), joined with "; ", oldest first; empty if none.
std::string recent_errors();

}  // namespace coder_lsp
