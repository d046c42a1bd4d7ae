// Hands out ranges of consecutive slots and takes them back; what was given back is used again first.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace coder_lsp {

class SlotRanges {
  public:
    // The first slot of a range of `count` (at least 1): the lowest gap that is large enough, else behind all others.
    std::uint32_t take(std::uint32_t count);
    void give_back(std::uint32_t first, std::uint32_t count);

    std::uint32_t end() const { return end_; }  // behind the last slot in use
    std::size_t memory_bytes() const;

  private:
    std::map<std::uint32_t, std::uint32_t> gaps_;  // first slot: how many; never two side by side, none at the end
    std::uint32_t end_ = 0;
};

}  // namespace coder_lsp
