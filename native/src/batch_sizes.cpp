#include "batch_sizes.h"

#include <algorithm>

namespace coder_lsp {
namespace {

// Sizes in use: each has to be looked at once, which costs as much as evaluating its tokens one by one. Kernels work on
// tiles of 4 and 8 rows, so sizes just above a multiple cost most for what they bring; 7 is the last size before ggml
// changes to its kernels for prompts.
constexpr std::array<std::size_t, 7> sizes = {2, 3, 4, 7, 8, 12, 16};

// Guessing must promise this much more than going on token by token: the estimates are rough.
constexpr double least_gain = 1.1;

constexpr double forgetting = 0.15;  // weight of the newest measurement

}  // namespace

void BatchSizes::took(std::size_t tokens, double milliseconds) {
    if (tokens == 1) {
        if (single_ms_ == 0.0) single_ms_ = milliseconds;
        // Another process's turn shows as a multiple: it says little about the next step.
        single_ms_ += forgetting * (std::min(milliseconds, 2.0 * single_ms_) - single_ms_);
    } else if (single_ms_ > 0.0) {
        double& price = prices_[tokens];
        price += 2.0 * forgetting * (std::min(milliseconds / single_ms_, 2.0 * price) - price);
    }
}

void BatchSizes::judge(std::size_t tokens, std::size_t cells, bool exact) {
    trust_[is_long(cells)][tokens] = exact ? Trust::exact : Trust::differs;
}

std::size_t BatchSizes::best_guess(std::span<const double> right, std::size_t cells) const {
    std::size_t best = 0;
    double best_gain = least_gain;
    double expected = 1.0;  // tokens of a pass: one for certain, and the guesses that are right
    double all_right = 1.0;
    std::size_t counted = 0;
    for (const std::size_t size : sizes) {
        if (size > right.size() + 1) break;
        for (; counted + 1 < size; ++counted) {
            all_right *= right[counted];
            expected += all_right;
        }
        const double gain = expected / prices_[size];
        if (gain > best_gain && trust(size, cells) != Trust::differs) {
            best = size - 1;
            best_gain = gain;
        }
    }
    return best;
}

std::size_t BatchSizes::largest_guess(std::size_t most, std::size_t cells) const {
    std::size_t best = 0;
    for (const std::size_t size : sizes) {
        if (size <= most + 1 && trust(size, cells) != Trust::differs) best = size - 1;
    }
    return best;
}

}  // namespace coder_lsp
