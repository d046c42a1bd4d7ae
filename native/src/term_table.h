// The terms of the index: each has a number, its text and its postings. A term that occurs nowhere any more is
// forgotten and its number used again. Knows no Python.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "postings.h"

namespace coder_lsp {

std::uint32_t hash_term(std::string_view text);

class TermTable {
  public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    std::uint32_t find(std::string_view text) const;  // `none` if it is not there
    // `hash` is hash_term(text), which the caller computes before it takes the lock.
    std::uint32_t find_or_add(std::string_view text, std::uint32_t hash);
    void remove(std::uint32_t term);

    // Fetch what find_or_add() will read, in two steps that should lie some terms apart.
    void prefetch_slot(std::uint32_t hash) const;
    void prefetch_term(std::uint32_t hash) const;

    Postings& postings(std::uint32_t term) { return terms_[term].postings; }
    const Postings& postings(std::uint32_t term) const { return terms_[term].postings; }
    std::size_t size() const { return size_; }
    std::size_t memory_bytes() const;  // without what postings() hold

  private:
    struct Term {
        std::uint32_t text = 0;  // in texts_
        std::uint32_t length = 0;
        Postings postings;
    };
    struct Slot {
        std::uint32_t hash = 0;
        std::uint32_t term = none;
    };

    std::string_view text_of(const Term& term) const { return {texts_.data() + term.text, term.length}; }
    std::size_t home(std::uint32_t hash) const { return hash & (slots_.size() - 1); }
    std::size_t locate(std::string_view text, std::uint32_t hash) const;  // its slot, or the free one it would get
    void grow();
    std::uint32_t keep_text(std::string_view text);
    void drop_dead_texts();

    std::vector<Term> terms_;
    std::vector<std::uint32_t> free_terms_;
    std::vector<Slot> slots_;  // open addressing, a power of two, at most 7/8 full
    std::vector<char> texts_;
    std::size_t dead_bytes_ = 0;  // of texts_, of terms that were forgotten
    std::size_t size_ = 0;
};

}  // namespace coder_lsp
