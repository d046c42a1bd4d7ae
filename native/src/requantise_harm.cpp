#include "requantise_harm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "faults.h"

namespace coder_lsp {
namespace {

constexpr std::size_t batch_tokens = 128;

// log of the sum of exponentials; what turns logits into log probabilities.
float normaliser(const float* logits, std::size_t count) {
    const float most = *std::max_element(logits, logits + count);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += std::exp(logits[i] - most);
    return most + static_cast<float>(std::log(sum));
}

// Calls `at(logits, normaliser, following token)` for each place.
template <typename At>
void walk(const MeasuredModel& model, std::vector<Tokens>& texts, std::size_t skip, const OnShare& on_share, At at) {
    const LogTurn turn;
    model.check(texts);
    std::size_t total = 0;
    for (const Tokens& text : texts) total += text.size();
    const auto size = static_cast<std::size_t>(model.vocab_size());
    const ContextOwner context = model.context(texts, batch_tokens);
    std::size_t evaluated = 0;
    for (Tokens& text : texts) {
        llama_memory_clear(llama_get_memory(context.get()), false);
        for (std::size_t first = 0; first < text.size(); first += batch_tokens) {
            const std::size_t count = std::min(batch_tokens, text.size() - first);
            evaluate(context.get(), text, first, count, true);
            for (std::size_t i = std::max(first, skip); i < first + count && i + 1 < text.size(); ++i) {
                const float* logits = llama_get_logits_ith(context.get(), static_cast<std::int32_t>(i - first));
                if (!logits) throw Fault(FaultKind::engine, "llama.cpp gave no logits");
                at(logits, normaliser(logits, size), text[i + 1]);
            }
            evaluated += count;
            if (on_share) on_share(static_cast<double>(evaluated) / static_cast<double>(total));
        }
    }
}

}  // namespace

Predictions predict(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip, const OnShare& on_share) {
    Predictions predictions;
    std::vector<llama_token> order(static_cast<std::size_t>(model.vocab_size()));
    const auto kept = static_cast<std::ptrdiff_t>(std::min(kept_tokens, order.size()));
    walk(model, texts, skip, on_share, [&](const float* logits, float total, llama_token next) {
        std::iota(order.begin(), order.end(), 0);
        const auto likelier = [logits](llama_token a, llama_token b) { return logits[a] > logits[b]; };
        std::nth_element(order.begin(), order.begin() + (kept - 1), order.end(), likelier);
        std::sort(order.begin(), order.begin() + kept, likelier);
        Prediction prediction;
        prediction.tokens.assign(order.begin(), order.begin() + kept);
        for (const llama_token token : prediction.tokens) {
            prediction.probabilities.push_back(std::exp(logits[token] - total));
        }
        prediction.next = logits[next] - total;
        predictions.push_back(std::move(prediction));
    });
    return predictions;
}

Harm compare(const MeasuredModel& model, std::vector<Tokens> texts, std::size_t skip, const Predictions& reference,
             const OnShare& on_share) {
    const auto size = static_cast<std::size_t>(model.vocab_size());
    Harm harm;
    walk(model, texts, skip, on_share, [&](const float* logits, float total, llama_token next) {
        if (harm.places >= reference.size()) throw Fault(FaultKind::engine, "more places than in the reference");
        const Prediction& expected = reference[harm.places];
        constexpr double least = 1e-9;  // what rounding leaves of a mass of nothing
        double divergence = 0;
        double theirs = 0;
        double ours = 0;
        for (std::size_t i = 0; i < expected.tokens.size(); ++i) {
            const auto token = static_cast<std::size_t>(expected.tokens[i]);
            if (token >= size) throw Fault(FaultKind::engine, "the reference has another vocabulary");
            const double p = expected.probabilities[i];
            const double log_q = logits[token] - total;
            theirs += p;
            ours += std::exp(log_q);
            if (p > 0) divergence += p * (std::log(p) - log_q);
        }
        const double rest = std::max(1 - theirs, least);
        divergence += rest * std::log(rest / std::max(1 - ours, least));
        harm.divergence += divergence;
        harm.agreement += std::max_element(logits, logits + size) - logits == expected.tokens.front();
        harm.loss += total - logits[next];
        harm.reference_loss -= expected.next;
        ++harm.places;
    });
    if (harm.places != reference.size() || harm.places == 0) {
        throw Fault(FaultKind::engine, "the texts are not those of the reference");
    }
    const auto places = static_cast<double>(harm.places);
    harm.divergence /= places;
    harm.agreement /= places;
    harm.loss /= places;
    harm.reference_loss /= places;
    return harm;
}

}  // namespace coder_lsp
