#include "term_table.h"

#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

namespace coder_lsp {
namespace {

constexpr std::size_t fewest_slots = 64;
constexpr std::size_t spare_dead_bytes = 1 << 16;  // not worth tidying up for less

inline void prefetch([[maybe_unused]] const void* address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#endif
}

}  // namespace

std::uint32_t hash_term(std::string_view text) {
    const std::uint64_t hash = std::hash<std::string_view>{}(text);
    return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

std::uint32_t TermTable::find(std::string_view text) const {
    if (slots_.empty()) return none;
    return slots_[locate(text, hash_term(text))].term;
}

std::uint32_t TermTable::find_or_add(std::string_view text, std::uint32_t hash) {
    if ((size_ + 1) * 8 > slots_.size() * 7) grow();
    Slot& slot = slots_[locate(text, hash)];
    if (slot.term != none) return slot.term;
    const std::uint32_t begin = keep_text(text);
    std::uint32_t term = 0;
    if (free_terms_.empty()) {
        term = static_cast<std::uint32_t>(terms_.size());
        terms_.emplace_back();
    } else {
        term = free_terms_.back();
        free_terms_.pop_back();
    }
    terms_[term].text = begin;
    terms_[term].length = static_cast<std::uint32_t>(text.size());
    slot = {hash, term};
    ++size_;
    return term;
}

void TermTable::remove(std::uint32_t term) {
    const std::string_view text = text_of(terms_[term]);
    std::size_t hole = locate(text, hash_term(text));
    // Whoever was pushed on by the removed one moves back, so that no search ends at the hole too early.
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = (hole + 1) & mask; slots_[at].term != none; at = (at + 1) & mask) {
        const std::size_t pushed = (at - home(slots_[at].hash)) & mask;
        if (pushed >= ((at - hole) & mask)) {
            slots_[hole] = slots_[at];
            hole = at;
        }
    }
    slots_[hole] = Slot{};
    dead_bytes_ += text.size();
    terms_[term] = Term{};
    free_terms_.push_back(term);
    --size_;
    if (dead_bytes_ > spare_dead_bytes + texts_.size() / 2) drop_dead_texts();
}

void TermTable::prefetch_slot(std::uint32_t hash) const {
    if (!slots_.empty()) prefetch(&slots_[home(hash)]);
}

void TermTable::prefetch_term(std::uint32_t hash) const {
    if (slots_.empty()) return;
    const std::uint32_t term = slots_[home(hash)].term;
    if (term != none) prefetch(&terms_[term]);
}

std::size_t TermTable::memory_bytes() const {
    return terms_.capacity() * sizeof(Term) + free_terms_.capacity() * sizeof(std::uint32_t) +
           slots_.capacity() * sizeof(Slot) + texts_.capacity();
}

std::size_t TermTable::locate(std::string_view text, std::uint32_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = home(hash);
    while (slots_[at].term != none && !(slots_[at].hash == hash && text_of(terms_[slots_[at].term]) == text)) {
        at = (at + 1) & mask;
    }
    return at;
}

void TermTable::grow() {
    std::vector<Slot> old(slots_.empty() ? fewest_slots : slots_.size() * 2);
    old.swap(slots_);
    const std::size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
        if (slot.term == none) continue;
        std::size_t at = home(slot.hash);
        while (slots_[at].term != none) at = (at + 1) & mask;
        slots_[at] = slot;
    }
}

std::uint32_t TermTable::keep_text(std::string_view text) {
    if (texts_.size() + text.size() > std::numeric_limits<std::uint32_t>::max()) {
        throw std::length_error("the index holds more than 4 GiB of different terms");
    }
    const auto begin = static_cast<std::uint32_t>(texts_.size());
    texts_.insert(texts_.end(), text.begin(), text.end());
    return begin;
}

void TermTable::drop_dead_texts() {
    std::vector<char> kept;
    kept.reserve(texts_.size() - dead_bytes_);
    for (Term& term : terms_) {
        const std::string_view text = text_of(term);
        term.text = static_cast<std::uint32_t>(kept.size());
        kept.insert(kept.end(), text.begin(), text.end());
    }
    texts_ = std::move(kept);
    dead_bytes_ = 0;
}

}  // namespace coder_lsp
