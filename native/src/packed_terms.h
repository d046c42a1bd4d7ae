// The terms of one file's chunks as bytes: what worker processes send back and the store keeps. Knows no Python.
//
// Layout: "BM" and a version byte; 8 bytes of checksum over what follows; then variable-length integers (7 bits a byte,
// low first): the number of chunks, the number of terms, and for each term, in ascending order of its bytes: its
// length, its bytes, the number of chunks that have it, and for each of these the distance to the chunk before,
// doubled, plus one if the term is there once; otherwise the count less two follows. A chunk's length is the sum of its
// counts. Equal terms make equal bytes. Reading trusts nothing: the checksum finds damage, the checks find malice.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace coder_lsp {

// Not what a packer wrote.
class DamagedTerms : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

struct ChunkCount {
    std::uint32_t chunk;
    std::uint32_t count;  // how often the term is in the chunk, at least 1
};

class TermPacker {
  public:
    void next_chunk();  // throws std::invalid_argument beyond the largest number of chunks
    void add(std::string_view term);
    std::string finish() const;

  private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };

    std::uint32_t chunks_ = 0;
    std::unordered_map<std::string, std::vector<ChunkCount>, Hash, std::equal_to<>> terms_;
};

struct UnpackedTerms {
    struct Term {
        std::string_view text;  // into the packed bytes
        std::uint32_t first;    // of `counts`
        std::uint32_t chunks;   // how many of them
    };

    std::vector<std::uint32_t> lengths;  // terms in each chunk
    std::vector<Term> terms;             // ascending, all different
    std::vector<ChunkCount> counts;      // of each term by ascending chunk

    std::span<const ChunkCount> counts_of(const Term& term) const { return {&counts[term.first], term.chunks}; }
};

// Fills `out`, whose memory is used again. Throws DamagedTerms.
void unpack_terms(std::string_view packed, UnpackedTerms& out);

}  // namespace coder_lsp
