#include "sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "faults.h"

namespace coder_lsp {
namespace {

constexpr std::size_t lanes = 16;  // independent accumulators, so that the compiler may vectorise without -ffast-math

// exp(x) for x <= 0 by 2^n times a polynomial (Cephes expf, relative error below 2e-7); no branches, so it vectorises.
inline float exp_of_negative(float x) {
    x = x > -87.0F ? x : -87.0F;
    const float n = static_cast<float>(static_cast<std::int32_t>(x * 1.44269504F - 0.5F));
    float r = x - n * 0.693359375F;
    r -= n * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    return p * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

}  // namespace

float largest(std::span<const float> logits) {
    float best[lanes];
    std::fill_n(best, lanes, -std::numeric_limits<float>::infinity());
    std::size_t i = 0;
    for (; i + lanes <= logits.size(); i += lanes) {
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            best[lane] = logits[i + lane] > best[lane] ? logits[i + lane] : best[lane];
        }
    }
    for (; i < logits.size(); ++i) best[0] = logits[i] > best[0] ? logits[i] : best[0];
    return *std::max_element(best, best + lanes);
}

double log_sum_exp(std::span<const float> logits, float maximum) {
    // Blocks keep the single precision sums short: 150,000 terms in one would lose three digits.
    constexpr std::size_t block = 256 * lanes;
    double total = 0.0;
    std::size_t start = 0;
    for (; start + lanes <= logits.size(); start += block) {
        const std::size_t end = std::min(start + block, logits.size() / lanes * lanes);
        float sums[lanes] = {};
        for (std::size_t i = start; i < end; i += lanes) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                sums[lane] += exp_of_negative(logits[i + lane] - maximum);
            }
        }
        total += std::accumulate(sums, sums + lanes, 0.0);
    }
    for (std::size_t i = logits.size() / lanes * lanes; i < logits.size(); ++i) {
        total += exp_of_negative(logits[i] - maximum);
    }
    return static_cast<double>(maximum) + std::log(total);
}

std::vector<Choice> likeliest(std::span<const float> logits, std::size_t count,
                              const std::function<bool(llama_token)>& wanted) {
    const double total = log_sum_exp(logits, largest(logits));
    std::vector<Choice> best;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const auto likelier = [](const Choice& a, const Choice& b) { return a.logprob > b.logprob; };
        const Choice next = {static_cast<llama_token>(i), static_cast<float>(static_cast<double>(logits[i]) - total)};
        if (best.size() == count && (count == 0 || !likelier(next, best.back()))) continue;
        if (!wanted(next.token)) continue;
        if (best.size() == count) best.pop_back();
        best.insert(std::upper_bound(best.begin(), best.end(), next, likelier), next);
    }
    return best;
}

Choice Sampler::choose(std::span<const float> logits, std::string_view owed, const Vocabulary& vocabulary) {
    const float maximum = largest(logits);
    if (!std::isfinite(maximum)) {
        throw Fault(FaultKind::engine, "the model produced no finite scores",
                    "the model file may be damaged: verify it");
    }
    candidates_.clear();
    llama_token token = LLAMA_TOKEN_NULL;
    if (!owed.empty()) {
        for (const llama_token candidate : vocabulary.beginning_with(owed.front())) {
            const std::string_view bytes = vocabulary.bytes(candidate);
            if (bytes.starts_with(owed) || owed.starts_with(bytes)) candidates_.push_back(candidate);
        }
        if (candidates_.empty()) {
            throw Fault(FaultKind::engine, "no token of the vocabulary can begin the text that must come next");
        }
        if (options_.temperature <= 0.0F) {
            token = *std::max_element(candidates_.begin(), candidates_.end(), [&](llama_token a, llama_token b) {
                return logits[static_cast<std::size_t>(a)] < logits[static_cast<std::size_t>(b)];
            });
        }
    } else if (options_.temperature <= 0.0F) {
        token = static_cast<llama_token>(std::find(logits.begin(), logits.end(), maximum) - logits.begin());
    } else {
        candidates_.resize(logits.size());
        std::iota(candidates_.begin(), candidates_.end(), 0);
    }
    if (token == LLAMA_TOKEN_NULL) token = draw(logits);
    const double logprob = static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_sum_exp(logits, maximum);
    return {token, static_cast<float>(std::min(logprob, 0.0))};
}

// Temperature first, then the top_k likeliest, then the fewest of these that hold top_p: the order of vLLM and
// transformers (llama.cpp applies the temperature last). Ties go to the lower id, so a seed means the same everywhere.
llama_token Sampler::draw(std::span<const float> logits) {
    const auto likelier = [&](llama_token a, llama_token b) {
        const float left = logits[static_cast<std::size_t>(a)];
        const float right = logits[static_cast<std::size_t>(b)];
        return left > right || (left == right && a < b);
    };
    std::size_t kept = candidates_.size();
    if (options_.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options_.top_k));
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(kept), candidates_.end(),
                      likelier);
    const double best = logits[static_cast<std::size_t>(candidates_.front())];
    weights_.clear();
    double total = 0.0;
    for (std::size_t i = 0; i < kept; ++i) {
        const double score = logits[static_cast<std::size_t>(candidates_[i])];
        weights_.push_back(std::exp((score - best) / static_cast<double>(options_.temperature)));
        total += weights_.back();
    }
    if (options_.top_p < 1.0F) {
        const double wanted = total * static_cast<double>(options_.top_p);
        double sum = 0.0;
        std::size_t needed = 0;
        while (needed < kept && (needed == 0 || sum < wanted)) sum += weights_[needed++];
        kept = needed;
        total = sum;
    }
    // 53 random bits as a fraction: std::uniform_real_distribution differs between standard libraries.
    double rest = static_cast<double>(random_() >> 11) * 0x1.0p-53 * total;
    for (std::size_t i = 0; i < kept; ++i) {
        rest -= weights_[i];
        if (rest < 0.0) return candidates_[i];
    }
    return candidates_[kept - 1];
}

}  // namespace coder_lsp
