#include "sequence_state.h"

#include <array>
#include <bit>
#include <cstring>

namespace coder_lsp {
namespace {

constexpr std::uint64_t magic = 0x31455441545351ULL;  // "QSTATE1", and the version of this layout

std::uint64_t digest_of(std::span<const llama_token> tokens) {
    return digest({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
}

using Fields = std::array<std::uint64_t, StateHeader::size / sizeof(std::uint64_t)>;

Fields fields_of(std::string_view state, std::uint64_t kind, std::span<const llama_token> tokens) {
    return {magic, kind, tokens.size(), digest_of(tokens), digest(state.substr(StateHeader::size))};
}

}  // namespace

// Multiply and rotate, a word at a time in four lanes (the shape of xxHash).
std::uint64_t digest(std::string_view bytes) {
    constexpr std::uint64_t one = 0x9E3779B185EBCA87ULL;
    constexpr std::uint64_t two = 0xC2B2AE3D27D4EB4FULL;
    std::array<std::uint64_t, 4> lanes = {one, two, one ^ two, bytes.size()};
    std::size_t at = 0;
    for (; at + 32 <= bytes.size(); at += 32) {
        for (std::size_t lane = 0; lane < 4; ++lane) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes.data() + at + 8 * lane, 8);
            lanes[lane] = std::rotl(lanes[lane] + word * two, 31) * one;
        }
    }
    std::uint64_t mixed = 0;
    for (const std::uint64_t lane : lanes) mixed = (std::rotl(mixed, 27) ^ (lane * two)) * one;
    for (; at < bytes.size(); ++at) {
        mixed = std::rotl(mixed ^ (static_cast<unsigned char>(bytes[at]) * two), 11) * one;
    }
    mixed = (mixed ^ (mixed >> 33)) * two;
    return mixed ^ (mixed >> 29);
}

void StateHeader::write(std::string& state, std::uint64_t kind, std::span<const llama_token> tokens) {
    const Fields fields = fields_of(state, kind, tokens);
    std::memcpy(state.data(), fields.data(), size);
}

bool StateHeader::fits(std::string_view state, std::uint64_t kind, std::span<const llama_token> tokens) {
    if (state.size() <= size) return false;
    const Fields expected = fields_of(state, kind, tokens);
    return std::memcmp(state.data(), expected.data(), size) == 0;
}

}  // namespace coder_lsp
