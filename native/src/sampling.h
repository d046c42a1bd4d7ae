// Chooses the next token from the scores of the model.

#pragma once

#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "vocabulary.h"

namespace coder_lsp {

struct SamplingOptions {
    float temperature = 0.0F;  // 0: greedy, the rest is not looked at
    std::int32_t top_k = 40;   // 0: all tokens
    float top_p = 0.95F;       // 1: all tokens
    std::uint64_t seed = 0;
};

struct Choice {
    llama_token token;
    float logprob;  // natural logarithm, of the model's own distribution: temperature 1, no constraint, no truncation
};

class Sampler {
  public:
    explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {}

    // `owed`: bytes that must come first. While there are any, only tokens that begin with them, or that are a
    // beginning of them, are candidates. Throws Fault engine if no token is.
    Choice choose(std::span<const float> logits, std::string_view owed, const Vocabulary& vocabulary);

  private:
    llama_token draw(std::span<const float> logits);

    SamplingOptions options_;
    std::mt19937_64 random_;
    std::vector<llama_token> candidates_;  // scratch
    std::vector<double> weights_;          // scratch
};

// The `count` likeliest tokens for which `wanted` is true, with their logprobs, the likeliest first.
std::vector<Choice> likeliest(std::span<const float> logits, std::size_t count,
                              const std::function<bool(llama_token)>& wanted);

// Largest of the scores; NaN ones are passed over.
float largest(std::span<const float> logits);

// log(sum(exp(logits))), single precision terms, vectorised.
double log_sum_exp(std::span<const float> logits, float maximum);

}  // namespace coder_lsp
