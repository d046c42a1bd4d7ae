#include "vocabulary.h"

#include <algorithm>
#include <climits>
#include <set>

#include "faults.h"

namespace coder_lsp {
namespace {

// SentencePiece writes a space so, in its vocabulary and, made by llama.cpp, in the text it looks up.
constexpr std::string_view meta_space = "\xE2\x96\x81";  // U+2581

std::string piece_of(const llama_vocab* vocab, llama_token token) {
    std::string piece(32, '\0');
    std::int32_t length =
        llama_token_to_piece(vocab, token, piece.data(), static_cast<std::int32_t>(piece.size()), 0, false);
    if (length < 0) {
        piece.resize(static_cast<std::size_t>(-length));
        length = llama_token_to_piece(vocab, token, piece.data(), -length, 0, false);
    }
    piece.resize(static_cast<std::size_t>(std::max(length, 0)));
    return piece;
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
        text.replace(at, what.size(), with);
    }
}

std::size_t first_character(std::string_view text) {
    std::size_t length = 1;
    while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) ++length;
    return length;
}

// Gemma lists HTML tags among its user-defined tokens: they are ordinary text, splitting them would only cost quality.
bool html_tag(std::string_view text) {
    static const std::set<std::string_view> names = {
        "table", "caption", "thead", "tbody", "tfoot",      "tr",     "th", "td", "h1", "h2",
        "h3",    "h4",      "h5",    "h6",    "blockquote", "strong", "em", "b",  "i",  "u",
        "s",     "sub",     "sup",   "code",  "a",          "li",     "ul", "ol", "p"};
    if (text.size() < 3 || text.front() != '<' || text.back() != '>') return false;
    text = text.substr(1, text.size() - 2);
    if (text.front() == '/') text.remove_prefix(1);
    return names.contains(text);
}

// <fim_prefix>, <|file_sep|>, [SUFFIX]: something in brackets with a letter in it.
bool looks_like_marker(std::string_view text) {
    while (text.starts_with(meta_space)) text.remove_prefix(meta_space.size());
    if (text.size() < 3) return false;
    const bool bracketed = (text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']');
    const bool letter =
        std::any_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
    return bracketed && letter && !html_tag(text);
}

}  // namespace

Vocabulary::Vocabulary(const llama_vocab* vocab, const std::string& path)
    : vocab_(vocab), sentencepiece_(llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_SPM) {
    switch (llama_vocab_type(vocab)) {
        case LLAMA_VOCAB_TYPE_SPM:
        case LLAMA_VOCAB_TYPE_BPE:
        case LLAMA_VOCAB_TYPE_RWKV:
        case LLAMA_VOCAB_TYPE_PLAMO2:
            break;
        default:
            throw Fault(FaultKind::unsupported, path + " has no tokenizer that keeps text exact",
                        "use a code completion model (BPE or SentencePiece vocabulary)");
    }
    byte_tokens_.fill(LLAMA_TOKEN_NULL);
    const std::int32_t count = llama_vocab_n_tokens(vocab);
    offsets_.reserve(static_cast<std::size_t>(count) + 1);
    offsets_.push_back(0);
    for (llama_token token = 0; token < count; ++token) {
        const llama_token_attr attributes = llama_vocab_get_attr(vocab, token);
        const bool control = (attributes & LLAMA_TOKEN_ATTR_CONTROL) != 0;
        const bool user_defined = (attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0;
        std::string piece = control ? std::string() : piece_of(vocab, token);
        // llama.cpp leaves U+2581 in user-defined pieces ("▁▁" of Gemma), though its tokenizer makes them of spaces.
        if (sentencepiece_ && user_defined) replace_all(piece, meta_space, " ");
        if (!piece.empty()) by_first_byte_[static_cast<unsigned char>(piece.front())].push_back(token);
        if (piece.size() == 1) {
            llama_token& slot = byte_tokens_[static_cast<unsigned char>(piece.front())];
            if (slot == LLAMA_TOKEN_NULL || (attributes & LLAMA_TOKEN_ATTR_BYTE) != 0) slot = token;
        }
        arena_ += piece;
        offsets_.push_back(static_cast<std::uint32_t>(arena_.size()));
        if (control || user_defined) {
            const std::string text = llama_vocab_get_text(vocab, token);
            special_.emplace(text, token);
            if (!control && looks_like_marker(text)) guarded_.push_back(text);
        }
        if (llama_vocab_is_eog(vocab, token)) end_tokens_.push_back(token);
    }
}

std::vector<llama_token> Vocabulary::tokenize(std::string_view text) const {
    // llama.cpp matches user-defined tokens in any text. A cut behind the first character of each such spelling keeps
    // them from forming; a literal U+2581 would come back as a space, so SentencePiece gets it as bytes.
    std::vector<std::size_t> cuts;
    for (const std::string& spelling : guarded_) {
        for (std::size_t at = text.find(spelling); at != std::string::npos; at = text.find(spelling, at + 1)) {
            cuts.push_back(at + first_character(text.substr(at)));
        }
    }
    std::vector<std::size_t> literal;
    if (sentencepiece_ && byte_tokens_[0xE2] != LLAMA_TOKEN_NULL) {
        for (std::size_t at = text.find(meta_space); at != std::string::npos;
             at = text.find(meta_space, at + meta_space.size())) {
            cuts.push_back(at);
            cuts.push_back(at + meta_space.size());
            literal.push_back(at);
        }
    }
    cuts.push_back(text.size());
    std::sort(cuts.begin(), cuts.end());

    std::vector<llama_token> tokens;
    tokens.reserve(text.size() / 3 + 8);
    std::size_t start = 0;
    for (const std::size_t cut : cuts) {
        if (cut == start) continue;
        const std::string_view piece = text.substr(start, cut - start);
        if (std::binary_search(literal.begin(), literal.end(), start)) {
            append_bytes(piece, tokens);
        } else {
            append_plain(piece, tokens);
        }
        start = cut;
    }
    return tokens;
}

std::optional<llama_token> Vocabulary::special(const std::string& text) const {
    const auto found = special_.find(text);
    if (found == special_.end()) return std::nullopt;
    return found->second;
}

std::string_view Vocabulary::bytes(llama_token token) const {
    const auto index = static_cast<std::size_t>(token);
    return std::string_view(arena_).substr(offsets_[index], offsets_[index + 1] - offsets_[index]);
}

std::optional<llama_token> Vocabulary::bos() const {
    const llama_token token = llama_vocab_bos(vocab_);
    if (!llama_vocab_get_add_bos(vocab_) || token == LLAMA_TOKEN_NULL) return std::nullopt;
    return token;
}

void Vocabulary::check(llama_token token) const {
    if (token >= 0 && token < size()) return;
    throw Fault(FaultKind::engine, "token " + std::to_string(token) + " is not in the vocabulary of " +
                                       std::to_string(size()) + " tokens");
}

// Tokens of text without guarded spellings.
void Vocabulary::append_plain(std::string_view text, std::vector<llama_token>& tokens) const {
    if (text.size() > static_cast<std::size_t>(INT32_MAX / 2)) {
        throw Fault(FaultKind::context_overflow, "a text of " + std::to_string(text.size()) + " bytes is too long");
    }
    std::vector<llama_token> found(text.size() / 2 + 8);
    const auto length = static_cast<std::int32_t>(text.size());
    std::int32_t count = llama_tokenize(vocab_, text.data(), length, found.data(),
                                        static_cast<std::int32_t>(found.size()), false, false);
    if (count < 0) {
        found.resize(static_cast<std::size_t>(-count));
        count = llama_tokenize(vocab_, text.data(), length, found.data(), -count, false, false);
    }
    found.resize(static_cast<std::size_t>(std::max(count, 0)));
    for (const llama_token token : found) {
        // Merging can end in a control token ("<" "s>" makes "<s>" in SentencePiece vocabularies).
        if (marker(token)) {
            append_spelled_out(llama_vocab_get_text(vocab_, token), tokens);
        } else {
            tokens.push_back(token);
        }
    }
}

// Tokens of the text of a marker that is not meant as one: its first character apart from the rest.
void Vocabulary::append_spelled_out(std::string_view text, std::vector<llama_token>& tokens) const {
    std::string plain(text);
    if (sentencepiece_) replace_all(plain, meta_space, " ");
    const std::size_t first = first_character(plain);
    if (first == plain.size()) {
        append_bytes(plain, tokens);
        return;
    }
    append_plain(std::string_view(plain).substr(0, first), tokens);
    append_plain(std::string_view(plain).substr(first), tokens);
}

void Vocabulary::append_bytes(std::string_view text, std::vector<llama_token>& tokens) const {
    for (const char byte : text) {
        const llama_token token = byte_tokens_[static_cast<unsigned char>(byte)];
        if (token != LLAMA_TOKEN_NULL) tokens.push_back(token);
    }
}

bool Vocabulary::marker(llama_token token) const {
    const llama_token_attr attributes = llama_vocab_get_attr(vocab_, token);
    if ((attributes & LLAMA_TOKEN_ATTR_CONTROL) != 0) return true;
    return (attributes & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0 &&
           std::find(guarded_.begin(), guarded_.end(), llama_vocab_get_text(vocab_, token)) != guarded_.end();
}

}  // namespace coder_lsp
