// Where one term occurs: a sorted list of chunks with counts, four bytes each.
//
// Most terms of a code base occur once or twice, so two entries fit into the list itself.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace coder_lsp {

// A slot (the number of a chunk in the index) in the upper 28 bits, the count in the lower 4; 0: it is more than 15.
using Posting = std::uint32_t;

constexpr unsigned count_bits = 4;
constexpr std::uint32_t most_slots = 1U << (32 - count_bits);
constexpr std::uint32_t largest_inline_count = (1U << count_bits) - 1;

constexpr Posting make_posting(std::uint32_t slot, std::uint32_t count) {
    return slot << count_bits | (count <= largest_inline_count ? count : 0);
}
constexpr std::uint32_t slot_of(Posting posting) {
    return posting >> count_bits;
}
constexpr std::uint32_t count_of(Posting posting) {
    return posting & largest_inline_count;
}

class Postings {
  public:
    Postings() = default;
    Postings(Postings&& other) noexcept;
    Postings& operator=(Postings&& other) noexcept;
    ~Postings();

    const Posting* begin() const { return on_heap() ? memory_.heap : memory_.here; }
    const Posting* end() const { return begin() + size_; }
    std::uint32_t size() const { return size_; }
    std::size_t heap_bytes() const;

    // Puts `run`, which ascends and lies within the slots [first, last), in place of the entries of these slots.
    void replace(std::uint32_t first, std::uint32_t last, std::span<const Posting> run);

  private:
    static constexpr std::uint32_t inline_capacity = 2;

    bool on_heap() const { return capacity_ > inline_capacity; }
    Posting* data() { return on_heap() ? memory_.heap : memory_.here; }
    void swap(Postings& other) noexcept;
    void reallocate(std::uint32_t capacity);

    union Memory {
        Posting here[inline_capacity];
        Posting* heap;
    };

    std::uint32_t size_ = 0;
    std::uint32_t capacity_ = inline_capacity;
    Memory memory_{};
};

// The first of the ascending entries at or behind `from` that is not below `bound`; quick where it is near.
inline const Posting* skip_to(const Posting* from, const Posting* end, Posting bound) {
    std::ptrdiff_t step = 1;
    const Posting* low = from;
    while (step < end - low && low[step] < bound) {
        low += step;
        step *= 2;
    }
    std::ptrdiff_t count = step < end - low ? step : end - low;
    while (count > 0) {
        const std::ptrdiff_t half = count / 2;
        if (low[half] < bound) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

}  // namespace coder_lsp
