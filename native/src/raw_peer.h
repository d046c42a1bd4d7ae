// llama.cpp as plainly as it can be used: what the benchmark compares the session with.

#pragma once

#include <llama.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace coder_lsp {

// A context of its own on a model that is already loaded, with llama.cpp's default parameters: whole batches of 512,
// no abort callback, no reuse, no text, the likeliest token each time.
class RawPeer {
  public:
    RawPeer(std::shared_ptr<llama_model> model, std::uint32_t context_tokens, std::int32_t threads,
            std::int32_t threads_batch);

    // Clears the cache and evaluates the prompt; milliseconds.
    double prefill(std::vector<llama_token> tokens);

    struct Decoded {
        double milliseconds;
        std::vector<llama_token> tokens;
    };
    // Goes on for `count` tokens, whatever they are. As many evaluations as Session::generate makes: one less.
    Decoded decode(std::int32_t count);

  private:
    std::shared_ptr<llama_model> model_;
    std::unique_ptr<llama_context, void (*)(llama_context*)> context_{nullptr, llama_free};
};

}  // namespace coder_lsp
