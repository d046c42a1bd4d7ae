// The vocabulary of a loaded model: plain text to tokens, tokens to bytes, special tokens by their spelling.
//
// Refuses to make control tokens out of text, whatever the text says. Thread-safe: nothing changes after construction.

#pragma once

#include <llama.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace coder_lsp {

class Vocabulary {
  public:
    // `vocab` must outlive this object; `path` is named in errors. Throws Fault unsupported for tokenizers that lose
    // text (WPM, UGM) or for none.
    Vocabulary(const llama_vocab* vocab, const std::string& path);

    std::int32_t size() const { return static_cast<std::int32_t>(offsets_.size()) - 1; }

    // Tokens of plain UTF-8 text; their bytes joined are the text again.
    std::vector<llama_token> tokenize(std::string_view text) const;

    // The control or user-defined token spelled exactly so.
    std::optional<llama_token> special(const std::string& text) const;

    // The bytes a token stands for; empty for control tokens.
    std::string_view bytes(llama_token token) const;

    // Tokens whose bytes begin with `first`, in order.
    const std::vector<llama_token>& beginning_with(char first) const {
        return by_first_byte_[static_cast<unsigned char>(first)];
    }

    std::optional<llama_token> bos() const;
    const std::vector<llama_token>& end_tokens() const { return end_tokens_; }
    bool ends(llama_token token) const { return llama_vocab_is_eog(vocab_, token); }
    void check(llama_token token) const;  // throws Fault engine if it is out of range

  private:
    void append_plain(std::string_view text, std::vector<llama_token>& tokens) const;
    void append_spelled_out(std::string_view text, std::vector<llama_token>& tokens) const;
    void append_bytes(std::string_view text, std::vector<llama_token>& tokens) const;
    bool marker(llama_token token) const;

    const llama_vocab* vocab_;
    bool sentencepiece_;
    std::string arena_;                   // bytes of all tokens, one after the other
    std::vector<std::uint32_t> offsets_;  // size() + 1 offsets into arena_
    std::array<std::vector<llama_token>, 256> by_first_byte_;
    std::array<llama_token, 256> byte_tokens_;  // token of each single byte, LLAMA_TOKEN_NULL if there is none
    std::unordered_map<std::string, llama_token> special_;
    std::vector<std::string> guarded_;  // spellings of user-defined markers, which llama.cpp matches in any text
    std::vector<llama_token> end_tokens_;
};

}  // namespace coder_lsp
