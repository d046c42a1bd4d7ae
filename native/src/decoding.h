// The loop of one generation: scores, choice, text, next forward pass, until something ends it.
//
// A forward pass evaluates the token that was chosen last and, where that is worth it, guesses of what follows. Guesses
// that turn out right are chosen without a pass of their own; the cells of the others are dropped. What is chosen is
// exactly what would be chosen without guesses: see exact_batches.h for how, and examine() for what is done about
// doubts.

#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "drafting.h"
#include "sampling.h"
#include "session.h"
#include "text_stream.h"

namespace coder_lsp {

class Session::Decoding {
  public:
    Decoding(Session& session, const Request& request, const Sink& sink, Generation& result);

    // To be called once, when the scores that follow the prompt are there.
    Finish run();

  private:
    using Clock = std::chrono::steady_clock;

    Finish until_it_ends();
    std::optional<Finish> take(const Choice& choice);
    bool unsure(const Choice& choice, bool line_ends);
    bool pass(llama_token token);
    bool evaluate_one(llama_token token);
    bool check(std::span<const llama_token> guess);
    bool examine(std::span<const llama_token> guess);
    bool evaluate_batch();
    void roll_back(std::size_t keep);
    std::span<const llama_token> guess();
    Choice choose(std::int32_t row) { return choose(session_.scores(row)); }
    Choice choose(std::span<const float> scores);
    void note_runners_up(std::span<const float> scores, const Choice& choice);
    bool ends_text(llama_token token) const;
    std::vector<llama_token>& history() const { return session_.at(result_.sequence).history; }

    Session& session_;
    const Request& request_;
    const Sink& sink_;
    Generation& result_;
    TextStream stream_;
    Sampler sampler_;
    std::optional<Drafter> drafter_;
    Clock::time_point start_ = Clock::now();
    std::vector<llama_token> batch_;  // of this pass: a chosen token, then guesses
    std::vector<Choice> decided_;     // by this pass; all but the last one are evaluated
    std::size_t branches_ = 0;        // tokens whose runners_up are noted

    // The line that is being written, without forced bytes.
    std::size_t line_start_ = 0;  // bytes of text before it
    std::size_t line_tokens_ = 0;
    double line_logprob_ = 0.0;  // sum
};

}  // namespace coder_lsp
