// What stands before the cells of a saved sequence: what they belong to, and a digest of them.
//
// llama.cpp checks little of what it is given, and ends the process over some of it. Bytes come back from a disk, maybe
// from another version or another model, so nothing is handed on that does not prove to be what was saved.

#pragma once

#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace coder_lsp {

// 64 bits that differ if the bytes do, short of malice; 1 ms for 10 MB.
std::uint64_t digest(std::string_view bytes);

struct StateHeader {
    static constexpr std::size_t size = 40;

    // Bytes to be filled by write(); the cells go behind them.
    static std::string room() { return std::string(size, '\0'); }

    // `kind`: a digest of all that the cells depend on besides the tokens.
    static void write(std::string& state, std::uint64_t kind, std::span<const llama_token> tokens);
    static bool fits(std::string_view state, std::uint64_t kind, std::span<const llama_token> tokens);
};

}  // namespace coder_lsp
