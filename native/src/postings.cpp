#include "postings.h"

#include <algorithm>
#include <utility>

namespace coder_lsp {
namespace {

constexpr std::uint32_t least_heap_capacity = 6;  // the smallest allocation of common allocators holds as many
constexpr std::size_t heap_overhead = 12;         // bytes that the allocator adds to an allocation, on average

}  // namespace

Postings::Postings(Postings&& other) noexcept {
    swap(other);
}

Postings& Postings::operator=(Postings&& other) noexcept {
    Postings taken(std::move(other));
    swap(taken);
    return *this;
}

Postings::~Postings() {
    if (on_heap()) delete[] memory_.heap;
}

std::size_t Postings::heap_bytes() const {
    return on_heap() ? capacity_ * sizeof(Posting) + heap_overhead : 0;
}

void Postings::replace(std::uint32_t first, std::uint32_t last, std::span<const Posting> run) {
    const Posting low = first << count_bits;
    // Files mostly come in the order of their slots: behind the last entry.
    const Posting* from = size_ == 0 || end()[-1] < low ? end() : std::lower_bound(begin(), end(), low);
    const Posting* to = from;
    while (to != end() && slot_of(*to) < last) ++to;
    const auto before = static_cast<std::uint32_t>(from - begin());
    const auto behind = static_cast<std::uint32_t>(end() - to);
    const std::uint32_t old_size = size_;
    const std::uint32_t size = before + static_cast<std::uint32_t>(run.size()) + behind;
    if (size > capacity_) reallocate(std::max({size, capacity_ + capacity_ / 2, least_heap_capacity}));
    if (size < old_size) {
        std::copy(data() + (old_size - behind), data() + old_size, data() + (size - behind));
    } else if (size > old_size) {
        std::copy_backward(data() + (old_size - behind), data() + old_size, data() + size);
    }
    std::copy(run.begin(), run.end(), data() + before);
    size_ = size;
    if (on_heap() && size_ <= capacity_ / 4) reallocate(size_ + size_ / 2);
}

void Postings::swap(Postings& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(memory_, other.memory_);
}

void Postings::reallocate(std::uint32_t capacity) {
    Postings moved;
    moved.capacity_ = std::max(capacity, inline_capacity);
    if (moved.on_heap()) moved.memory_.heap = new Posting[moved.capacity_];
    std::copy(begin(), end(), moved.data());
    moved.size_ = size_;
    swap(moved);
}

}  // namespace coder_lsp
