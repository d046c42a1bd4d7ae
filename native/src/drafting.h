// Guesses the next tokens of a greedy generation from text that is there already: the prompt, what was generated,
// recent suggestions. Code repeats itself; where the last tokens stood before, what followed there often follows again.
//
// Knows tokens only. How many guesses are worth checking is decided by what they cost (batch_sizes.h) and by how often
// guesses of the same kind were right in this session.

#pragma once

#include <llama.h>

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "batch_sizes.h"

namespace coder_lsp {

// How often a guess is right, by the number of tokens before it that agree. Kept for a session.
class GuessRecord {
  public:
    static constexpr std::size_t longest = 16;

    static GuessRecord of_text();
    static GuessRecord of_hints();

    // Probability that the next token is right if so many tokens before it agree.
    double right(std::size_t agreeing) const;
    void note(std::size_t agreeing, bool was_right);

  private:
    struct Counts {
        double right;
        double all;
    };
    explicit GuessRecord(const std::array<double, longest + 1>& expected);

    std::array<Counts, longest + 1> counts_;
};

// Guesses from the text itself and from hints are right unequally often.
struct GuessRecords {
    GuessRecord text = GuessRecord::of_text();
    GuessRecord hints = GuessRecord::of_hints();
};

class Drafter {
  public:
    using EndsText = std::function<bool(llama_token)>;

    // `ends_text` tells tokens that are never guessed. `eager`: as many guesses as there are, whatever they cost.
    Drafter(std::span<const llama_token> prompt, std::span<const std::vector<llama_token>> hints, EndsText ends_text,
            bool eager, const BatchSizes& sizes, GuessRecords& records);

    // The tokens guessed to follow, at most `most`; none where that is not worth a batch.
    std::span<const llama_token> guess(std::size_t most, std::size_t cells);

    // So many of the guesses were right, from the first on. Tells the record, and guesses more rarely after failures.
    void learn(std::size_t right);

    // What was generated.
    void append(llama_token token) { text_.push_back(token); }

  private:
    struct Match {
        std::span<const llama_token> followers;
        std::size_t agreeing = 0;
    };
    void find_in(std::span<const llama_token> source, std::size_t last_end, Match& best) const;

    EndsText ends_text_;
    bool eager_;
    const BatchSizes& sizes_;
    GuessRecords& records_;
    std::span<const std::vector<llama_token>> hints_;
    std::vector<llama_token> text_;     // prompt and what was generated
    std::vector<llama_token> guessed_;  // last guess
    std::size_t agreeing_ = 0;          // of the last guess
    GuessRecord* record_ = nullptr;     // of its kind
    std::size_t failures_ = 0;          // guesses in a row of which nothing was right
    std::size_t pause_ = 0;             // passes to come without a guess
};

}  // namespace coder_lsp
