// How fast this machine is: a whole model, and one product of a matrix in one format.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "requantise_model.h"

namespace coder_lsp {

struct RunTimes {
    double prefill_ms = 0;
    double decode_ms = 0;
};

struct RunOptions {
    std::uint32_t prefill_tokens = 256;
    std::uint32_t decode_tokens = 32;
    std::int32_t threads = 1;
    std::int32_t threads_batch = 1;
    std::string kv_type = "f16";
    bool flash_attention = true;
    std::uint32_t slice_tokens = 128;
};

// A loaded model with one context, to be timed again and again. The tokens are whatever the numbers say: their text
// makes no difference to the time.
class TimedModel {
  public:
    // Throws Fault as load_for_measuring() and context_for_measuring() do.
    TimedModel(const std::string& path, const RunOptions& options);

    // The same weights, not loaded again, run in another way.
    TimedModel otherwise(const RunOptions& options) const;

    // Reads a prompt from an empty cache, then decodes one token after the other.
    RunTimes run();

  private:
    TimedModel(ModelOwner model, const RunOptions& options);

    RunOptions options_;
    ModelOwner model_;
    ContextOwner context_;
};

struct ProductTimes {
    bool repacked = false;   // the weights are rearranged for this CPU
    double one_us = 0;       // one token
    double batch_us = 0;     // `batch` tokens at once
};

// Times a matrix of `rows` x `columns` in a format, its weights as ggml lays them out for this CPU and read from
// memory, not from a cache. The processor's time of one thread, the least of many: what else runs on the machine hardly
// enters. Throws Fault engine for a format that such rows cannot have.
ProductTimes time_product(const std::string& format, std::int64_t columns, std::int64_t rows, std::int64_t batch,
                          double seconds);

}  // namespace coder_lsp
