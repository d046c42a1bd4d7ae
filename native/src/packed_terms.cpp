#include "packed_terms.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace coder_lsp {
namespace {

constexpr std::string_view magic{"BM\x01", 3};
constexpr std::size_t checksum_bytes = 8;
constexpr std::uint32_t most_chunks = 1U << 20;  // of one file: bounds what a few bytes can make the reader allocate

void write_number(std::string& out, std::uint64_t number) {
    while (number >= 0x80) {
        out += static_cast<char>((number & 0x7FU) | 0x80U);
        number >>= 7;
    }
    out += static_cast<char>(number);
}

std::uint64_t little_endian(std::string_view bytes) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        word |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    return word;
}

// FNV-1a over words instead of bytes, with the high half mixed back in. Against damage, not against an attacker.
std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t hash = 0xCBF29CE484222325U ^ bytes.size();
    while (!bytes.empty()) {
        const std::string_view word = bytes.substr(0, 8);
        hash = (hash ^ little_endian(word)) * 0x100000001B3U;
        hash ^= hash >> 29;
        bytes.remove_prefix(word.size());
    }
    return hash;
}

class Reader {
  public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    std::uint32_t number() {
        if (!bytes_.empty() && static_cast<unsigned char>(bytes_.front()) < 0x80) return take_byte();
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 35; shift += 7) {
            if (bytes_.empty()) throw DamagedTerms("packed terms end inside a number");
            const std::uint32_t byte = take_byte();
            value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
            if (byte < 0x80) {
                if (value > std::numeric_limits<std::uint32_t>::max()) break;
                return static_cast<std::uint32_t>(value);
            }
        }
        throw DamagedTerms("packed terms hold a number of more than 32 bits");
    }

    std::string_view bytes(std::uint32_t count) {
        if (count > bytes_.size()) throw DamagedTerms("packed terms end inside a term");
        const std::string_view taken = bytes_.substr(0, count);
        bytes_.remove_prefix(count);
        return taken;
    }

    std::size_t left() const { return bytes_.size(); }

  private:
    std::uint32_t take_byte() {
        const auto byte = static_cast<unsigned char>(bytes_.front());
        bytes_.remove_prefix(1);
        return byte;
    }

    std::string_view bytes_;
};

void read_counts(Reader& reader, std::uint32_t entries, UnpackedTerms& out) {
    std::uint64_t next = 0;  // the first chunk that may come
    for (std::uint32_t i = 0; i < entries; ++i) {
        const std::uint32_t code = reader.number();
        const std::uint64_t chunk = next + (code >> 1);
        const std::uint64_t count = (code & 1U) != 0 ? 1 : std::uint64_t{reader.number()} + 2;
        if (chunk >= out.lengths.size()) throw DamagedTerms("packed terms name a chunk that the file does not have");
        const std::uint64_t length = out.lengths[chunk] + count;
        if (length > std::numeric_limits<std::uint32_t>::max())
            throw DamagedTerms("packed terms hold too long a chunk");
        out.lengths[chunk] = static_cast<std::uint32_t>(length);
        out.counts.push_back({static_cast<std::uint32_t>(chunk), static_cast<std::uint32_t>(count)});
        next = chunk + 1;
    }
}

}  // namespace

void TermPacker::next_chunk() {
    if (chunks_ == most_chunks) throw std::invalid_argument("a file has more than 1048576 chunks");
    ++chunks_;
}

void TermPacker::add(std::string_view term) {
    auto found = terms_.find(term);
    if (found == terms_.end()) found = terms_.emplace(term, std::vector<ChunkCount>{}).first;
    const std::uint32_t chunk = chunks_ - 1;
    std::vector<ChunkCount>& counts = found->second;
    if (counts.empty() || counts.back().chunk != chunk) counts.push_back({chunk, 0});
    ++counts.back().count;
}

std::string TermPacker::finish() const {
    std::vector<const decltype(terms_)::value_type*> ordered;
    ordered.reserve(terms_.size());
    for (const auto& term : terms_) ordered.push_back(&term);
    std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->first < b->first; });

    std::string out(magic);
    out.append(checksum_bytes, '\0');
    write_number(out, chunks_);
    write_number(out, terms_.size());
    for (const auto* term : ordered) {
        write_number(out, term->first.size());
        out += term->first;
        write_number(out, term->second.size());
        std::uint32_t next = 0;
        for (const ChunkCount& entry : term->second) {
            write_number(out, std::uint64_t{entry.chunk - next} << 1 | (entry.count == 1 ? 1U : 0U));
            if (entry.count != 1) write_number(out, entry.count - 2);
            next = entry.chunk + 1;
        }
    }
    const std::uint64_t sum = checksum(std::string_view(out).substr(magic.size() + checksum_bytes));
    for (std::size_t i = 0; i < checksum_bytes; ++i) out[magic.size() + i] = static_cast<char>(sum >> (8 * i) & 0xFFU);
    return out;
}

void unpack_terms(std::string_view packed, UnpackedTerms& out) {
    out.lengths.clear();
    out.terms.clear();
    out.counts.clear();
    if (packed.size() < magic.size() + checksum_bytes) throw DamagedTerms("packed terms are cut off");
    if (packed.substr(0, 2) != magic.substr(0, 2)) throw DamagedTerms("these bytes are no packed terms");
    if (packed[2] != magic[2]) throw DamagedTerms("packed terms of another version");
    const std::string_view body = packed.substr(magic.size() + checksum_bytes);
    if (little_endian(packed.substr(magic.size(), checksum_bytes)) != checksum(body)) {
        throw DamagedTerms("packed terms are damaged: their checksum is wrong");
    }

    Reader reader(body);
    const std::uint32_t chunks = reader.number();
    if (chunks > most_chunks) throw DamagedTerms("packed terms state too many chunks");
    out.lengths.assign(chunks, 0);
    const std::uint32_t terms = reader.number();
    // A term takes 3 bytes at least (the empty one is first), an entry 1: no statement makes us reserve more than was
    // sent.
    if (terms > reader.left() / 3 + 1) throw DamagedTerms("packed terms state more terms than they hold");
    out.terms.reserve(terms);
    out.counts.reserve(reader.left() / 4);
    for (std::uint32_t i = 0; i < terms; ++i) {
        const std::string_view text = reader.bytes(reader.number());
        if (i > 0 && text <= out.terms.back().text) throw DamagedTerms("packed terms are out of order");
        const std::uint32_t entries = reader.number();
        if (entries == 0 || entries > chunks) throw DamagedTerms("packed terms hold a term of no chunk");
        out.terms.push_back({text, static_cast<std::uint32_t>(out.counts.size()), entries});
        read_counts(reader, entries, out);
    }
    if (reader.left() != 0) throw DamagedTerms("packed terms go on behind their end");
}

}  // namespace coder_lsp
