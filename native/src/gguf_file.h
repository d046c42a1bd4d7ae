// Reads the header of a GGUF file and checks it before anything is loaded.

#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace coder_lsp {

struct GgufFacts {
    std::string architecture;                     // general.architecture, empty if the file has none
    std::uint64_t file_bytes = 0;                 // size on disk
    std::uint64_t needed_bytes = 0;               // where the last tensor ends; file_bytes is at least this
    std::map<std::string, std::int64_t> numbers;  // integer metadata; of an array of integers its largest element
    std::map<std::string, std::string> texts;     // string metadata
};

// Throws Fault not_found, or corrupt for a file that is not a GGUF or ends before its last tensor does.
GgufFacts inspect_gguf(const std::string& path);

}  // namespace coder_lsp
