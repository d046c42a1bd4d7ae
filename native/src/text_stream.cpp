#include "text_stream.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace coder_lsp {
namespace {

struct Utf8Step {
    std::size_t length;  // bytes of the character, or of the maximal invalid part
    bool valid;
    bool incomplete;  // the bytes end inside a character that is right so far
};

// Well-formed sequences of the Unicode Standard, table 3-7.
Utf8Step step(std::string_view bytes) {
    const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
    const std::uint8_t lead = at(0);
    if (lead < 0x80) return {1, true, false};
    std::size_t length = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return {1, false, false};
    }
    for (std::size_t i = 1; i < length; ++i) {
        if (i == bytes.size()) return {i, false, true};
        if (at(i) < low || at(i) > high) return {i, false, false};
        low = 0x80;
        high = 0xBF;
    }
    return {length, true, false};
}

}  // namespace

std::size_t append_utf8(std::string& out, std::string_view bytes, bool final) {
    std::size_t used = 0;
    while (used < bytes.size()) {
        const Utf8Step next = step(bytes.substr(used));
        if (next.incomplete && !final) break;
        if (next.valid) {
            out += bytes.substr(used, next.length);
        } else {
            out += "\xEF\xBF\xBD";
        }
        used += next.length;
    }
    return used;
}

std::string valid_utf8(std::string_view bytes) {
    std::string out;
    append_utf8(out, bytes, true);
    return out;
}

TextStream::TextStream(std::string forced, std::vector<std::string> stops)
    : forced_(std::move(forced)), stops_(std::move(stops)) {
    std::erase(stops_, "");
    for (const std::string& stop : stops_) longest_stop_ = std::max(longest_stop_, stop.size());
}

bool TextStream::append(std::string_view bytes) {
    const std::size_t payment = std::min(bytes.size(), forced_.size() - paid_);
    paid_ += payment;
    bytes.remove_prefix(payment);
    if (bytes.empty()) return false;
    // A stop string may have begun in earlier tokens, but not have ended there.
    const std::size_t from = text_.size() - std::min(text_.size(), longest_stop_);
    text_ += bytes;
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops_) first = std::min(first, text_.find(stop, from));
    if (first == std::string::npos) return false;
    text_.resize(first);
    return true;
}

std::string TextStream::take(bool final) {
    std::size_t certain = text_.size();
    if (!final && longest_stop_ > 0) {
        const std::size_t from = std::max(taken_, text_.size() - std::min(text_.size(), longest_stop_ - 1));
        for (std::size_t start = from; start < text_.size() && start < certain; ++start) {
            const std::string_view rest = std::string_view(text_).substr(start);
            for (const std::string& stop : stops_) {
                if (stop.starts_with(rest)) certain = start;
            }
        }
    }
    std::string delta;
    if (taken_ < certain) {
        taken_ += append_utf8(delta, std::string_view(text_).substr(taken_, certain - taken_), final);
    }
    return delta;
}

bool TextStream::cut_to_whole_lines() {
    return cut_to_lines_before(line_start());
}

bool TextStream::cut_to_lines_before(std::size_t line_start) {
    if (line_start == 0) return false;
    const std::string_view lines = std::string_view(text_).substr(0, line_start - 1);
    if (lines.find_first_not_of(" \t\r\n") == std::string_view::npos) return false;
    text_.resize(lines.size());
    return true;
}

std::size_t TextStream::line_start() const {
    const std::size_t end = text_.rfind('\n');
    return end == std::string::npos ? 0 : end + 1;
}

}  // namespace coder_lsp
