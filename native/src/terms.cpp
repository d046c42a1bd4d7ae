#include "terms.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace coder_lsp {
namespace {

constexpr std::size_t longest_identifier = 64;  // bytes

enum class Kind : std::uint8_t { other, lower, upper, digit, underscore };

struct Character {
    Kind kind;
    std::size_t length;  // bytes
};

struct Range {
    std::uint32_t first;
    std::uint32_t last;
};

// Beyond ASCII: spaces, punctuation, drawing and pictures. What is missing here is harmless: a rare term more.
constexpr std::array separators{Range{0x80, 0xA9},     Range{0xAB, 0xB4},       Range{0xB6, 0xB9},
                                Range{0xBB, 0xBF},     Range{0xD7, 0xD7},       Range{0xF7, 0xF7},
                                Range{0x1680, 0x1680}, Range{0x2000, 0x206F},   Range{0x2190, 0x2BFF},
                                Range{0x2E00, 0x2E7F}, Range{0x3000, 0x3003},   Range{0x3008, 0x301F},
                                Range{0xFE30, 0xFE6F}, Range{0xFEFF, 0xFEFF},   Range{0xFF01, 0xFF0F},
                                Range{0xFF1A, 0xFF20}, Range{0xFF3B, 0xFF40},   Range{0xFF5B, 0xFF65},
                                Range{0xFFF9, 0xFFFF}, Range{0x1F000, 0x1FAFF}, Range{0xE0000, 0x10FFFF}};

bool separates(std::uint32_t code_point) {
    return std::any_of(separators.begin(), separators.end(),
                       [&](const Range& range) { return code_point >= range.first && code_point <= range.last; });
}

Kind ascii_kind(unsigned char byte) {
    if (byte >= 'a' && byte <= 'z') return Kind::lower;
    if (byte >= 'A' && byte <= 'Z') return Kind::upper;
    if (byte >= '0' && byte <= '9') return Kind::digit;
    if (byte == '_') return Kind::underscore;
    return Kind::other;
}

// What is not well-formed (Unicode Standard, table 3-7) counts as one separating byte.
Character beyond_ascii(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
    constexpr Character broken{Kind::other, 1};
    const std::uint32_t lead = at(0);
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return broken;
    std::uint32_t code_point = lead & (0xFFU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xC0U) != 0x80U) return broken;
        code_point = code_point << 6 | (at(i) & 0x3FU);
    }
    constexpr std::array<std::uint32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
    if (code_point < smallest[length] || code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        return broken;
    }
    return {separates(code_point) ? Kind::other : Kind::lower, length};
}

Character character(std::string_view text) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte < 0x80) return {ascii_kind(byte), 1};
    return beyond_ascii(text);
}

void emit_word(std::string_view word, std::string_view identifier, const TermSink& sink) {
    if (word.empty() || (word.size() == 1 && static_cast<unsigned char>(word.front()) < 0x80)) return;
    std::array<char, longest_identifier> lower;
    const auto end = std::transform(word.begin(), word.end(), lower.begin(),
                                    [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    const std::string_view term(lower.data(), static_cast<std::size_t>(end - lower.begin()));
    if (term != identifier) sink(term);
}

void emit_identifier(std::string_view identifier, const TermSink& sink) {
    sink(identifier);
    std::size_t begin = 0;  // of the word that is open
    Kind before = Kind::underscore;
    Character here = character(identifier);
    for (std::size_t at = 0; at < identifier.size();) {
        const std::size_t next = at + here.length;
        const Character after = next < identifier.size() ? character(identifier.substr(next)) : Character{};
        const bool boundary =
            here.kind != before &&
            (before == Kind::underscore || here.kind == Kind::underscore || before == Kind::digit ||
             here.kind == Kind::digit || here.kind == Kind::upper);  // what is left is upper to lower: one word
        const bool last_capital = here.kind == Kind::upper && before == Kind::upper && after.kind == Kind::lower;
        if (boundary || last_capital) {
            if (before != Kind::underscore) emit_word(identifier.substr(begin, at - begin), identifier, sink);
            begin = at;
        }
        before = here.kind;
        here = after;
        at = next;
    }
    if (before != Kind::underscore) emit_word(identifier.substr(begin), identifier, sink);
}

// Behind the run of letters, digits and underscores that begins at `at`, or behind the one other character there.
std::size_t run_end(std::string_view text, std::size_t at, Character first) {
    std::size_t end = at + first.length;
    if (first.kind == Kind::other) return end;
    while (end < text.size()) {
        const Character next = character(text.substr(end));
        if (next.kind == Kind::other) break;
        end += next.length;
    }
    return end;
}

}  // namespace

void for_each_term(std::string_view text, const TermSink& sink) {
    std::size_t at = 0;
    while (at < text.size()) {
        const Character first = character(text.substr(at));
        const std::size_t end = run_end(text, at, first);
        if (first.kind != Kind::other && first.kind != Kind::digit && end - at <= longest_identifier) {
            emit_identifier(text.substr(at, end - at), sink);
        }
        at = end;
    }
}

void for_each_name(std::string_view text, const TermSink& sink) {
    std::size_t at = 0;
    while (at < text.size()) {
        const Character first = character(text.substr(at));
        if (first.kind == Kind::other || first.kind == Kind::digit) {
            at += first.length;
            continue;
        }
        const std::size_t end = run_end(text, at, first);
        if (end - at > first.length) sink(text.substr(at, end - at));
        at = end;
    }
}

}  // namespace coder_lsp
