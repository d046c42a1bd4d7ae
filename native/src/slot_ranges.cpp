#include "slot_ranges.h"

#include <iterator>
#include <stdexcept>

#include "postings.h"

namespace coder_lsp {

std::uint32_t SlotRanges::take(std::uint32_t count) {
    for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
        const auto [first, size] = *gap;
        if (size < count) continue;
        gaps_.erase(gap);
        if (size > count) gaps_.emplace(first + count, size - count);
        return first;
    }
    if (count > most_slots - end_) throw std::length_error("the index holds more than 268435456 chunks");
    const std::uint32_t first = end_;
    end_ += count;
    return first;
}

void SlotRanges::give_back(std::uint32_t first, std::uint32_t count) {
    if (count == 0) return;
    auto next = gaps_.lower_bound(first);
    if (next != gaps_.end() && next->first == first + count) {
        count += next->second;
        next = gaps_.erase(next);
    }
    if (next != gaps_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == first) {
            first = before->first;
            count += before->second;
            gaps_.erase(before);
        }
    }
    if (first + count == end_) {
        end_ = first;
    } else {
        gaps_.emplace(first, count);
    }
}

std::size_t SlotRanges::memory_bytes() const {
    constexpr std::size_t node_bytes = 48;  // of a red-black tree
    return gaps_.size() * node_bytes;
}

}  // namespace coder_lsp
