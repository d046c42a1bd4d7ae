// What a batch of so many tokens costs on this machine, and whether it says the same as single tokens. Learnt while a
// session runs, for both depend on the processor, the quantisation and what else the machine is doing.

#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace coder_lsp {

class BatchSizes {
  public:
    static constexpr std::size_t largest = 16;

    enum class Trust { unknown, exact, differs };

    // A forward pass of `tokens` took so long.
    void took(std::size_t tokens, double milliseconds);

    // Its price in single tokens.
    double price(std::size_t tokens) const { return prices_[tokens]; }

    // llama.cpp offers the cache to ggml in steps of 256 cells, and from the second one on ggml may take another way
    // (exact_batches.h). So batches are looked at on both sides of this, and none goes across.
    static constexpr std::size_t long_cells = 256;

    Trust trust(std::size_t tokens, std::size_t cells) const { return trust_[is_long(cells)][tokens]; }
    void judge(std::size_t tokens, std::size_t cells, bool exact);

    // How many tokens to guess, given for each of them the probability that it is right if those before it are: as many
    // as bring most tokens for their price, 0 where nothing is worth it.
    std::size_t best_guess(std::span<const double> right, std::size_t cells) const;

    // The largest number of guesses up to `most` that a batch may have, whatever it costs.
    std::size_t largest_guess(std::size_t most, std::size_t cells) const;

  private:
    static std::size_t is_long(std::size_t cells) { return cells >= long_cells ? 1 : 0; }

    double single_ms_ = 0.0;
    // Before it is measured: 0.5B Q4_K_M on two cores, where 4 and 8 rows fill a tile.
    std::array<double, largest + 1> prices_ = {0.0, 1.0, 1.8, 2.3, 2.6, 3.5, 3.9, 4.0, 4.4,
                                               5.4, 5.8, 6.2, 6.6, 7.0, 7.4, 7.8, 8.2};
    std::array<std::array<Trust, largest + 1>, 2> trust_{};
};

}  // namespace coder_lsp
