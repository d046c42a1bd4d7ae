// Whether this ggml multiplies with AMX's tiles, which cannot be relied on.

#pragma once

#include <llama.h>

#include <cstring>

namespace coder_lsp {

// Compiled by GCC 12 and others, ggml hands the processor half a tile configuration: the rest is optimised away, since
// the compiler does not see that it is read, and the first product ends the process (llama.cpp #20824, #26954). Weights
// that are not rearranged for a processor at all never come near it; slower, so scripts/setup compiles without AMX.
inline bool compiled_for_amx() {
    return std::strstr(llama_print_system_info(), "AMX_INT8 = 1") != nullptr;
}

}  // namespace coder_lsp
