// How fast this machine's memory is read: what bounds decoding, for which every weight is read once a token.

#pragma once

#include <cstddef>
#include <cstdint>

namespace coder_lsp {

// Bytes a second, the best of the passes made within `seconds` over `bytes` that are too many for the caches, each of
// `threads` reading a part of its own. Throws Fault engine for no thread or nothing to read.
double read_bandwidth(std::size_t bytes, std::int32_t threads, double seconds);

}  // namespace coder_lsp
