// How far one model's predictions are from another's, token by token over the same text.
//
// Of the reference, the likeliest tokens of each place are kept and the mass of all others: whole distributions over
// 150,000 tokens would fill memory, and what lies beyond these tokens hardly enters the divergence.

#pragma once

#include <cstdint>
#include <vector>

#include "requantise_model.h"

namespace coder_lsp {

constexpr std::size_t kept_tokens = 64;

// The reference's distribution at one place.
struct Prediction {
    std::vector<llama_token> tokens;   // likeliest first
    std::vector<float> probabilities;  // of these
    float next = 0;                    // log probability of the token that follows in the text
};

struct Harm {
    std::size_t places = 0;
    double divergence = 0;      // mean Kullback-Leibler divergence from the reference, nats
    double agreement = 0;       // share of places with the same likeliest token
    double loss = 0;            // mean -log probability of the token that follows, this model's
    double reference_loss = 0;  // the same, the reference's
};

using Predictions = std::vector<Prediction>;

// The predictions after each token of the texts, but for the first `skip` of each, which have nothing to go by. Throws
// Fault, and what `on_share` throws.
Predictions predict(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip, const OnShare& on_share);

// The same texts by another model with the same vocabulary. Throws as predict() does.
Harm compare(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip, const Predictions& reference,
             const OnShare& on_share);

}  // namespace coder_lsp
