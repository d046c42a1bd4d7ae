// What every measurement of a model needs: the model, contexts on it, and llama.cpp's log for the time of a call.

#pragma once

#include <ggml-backend.h>
#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace coder_lsp {

// Told how much of the work is done, 0.0-1.0. May throw, which ends the work.
using OnShare = std::function<void(double)>;

// Takes llama.cpp's log for as long as it lives. The engine's own extension may be loaded in the same process, and both
// explain failures by what was logged last.
class LogTurn {
  public:
    LogTurn();
    ~LogTurn();
    LogTurn(const LogTurn&) = delete;
    LogTurn& operator=(const LogTurn&) = delete;

  private:
    ggml_log_callback previous_ = nullptr;
    void* previous_data_ = nullptr;
};

using Tokens = std::vector<llama_token>;

using ModelOwner = std::shared_ptr<llama_model>;
using ContextOwner = std::unique_ptr<llama_context, void (*)(llama_context*)>;

// A model file as the engine loads it: on the CPU, mapped, its weights rearranged for this processor. Throws Fault
// corrupt, unsupported or out_of_memory. A loader of its own: what the engine's does besides is for serving.
ModelOwner load_for_measuring(const std::string& path);

struct ContextOptions {
    std::uint32_t tokens = 0;   // cells of the one sequence
    std::uint32_t batch = 128;  // tokens evaluated at once
    bool all_logits = false;    // else of one token at a time
    std::int32_t threads = 1;
    std::int32_t threads_batch = 1;
    std::string kv_type = "f16";
    bool flash_attention = true;
    ggml_backend_sched_eval_callback on_node = nullptr;
    void* data = nullptr;
};

// Throws Fault engine for options that make no sense, out_of_memory if there is none.
ContextOwner context_for_measuring(llama_model* model, const ContextOptions& options);

// A model whose predictions are looked at.
class MeasuredModel {
  public:
    // Throws Fault as load_for_measuring() does.
    MeasuredModel(const std::string& path, std::int32_t threads);

    std::int32_t vocab_size() const;

    // A context with room for the longest of the texts, and logits of every token.
    ContextOwner context(const std::vector<Tokens>& texts, std::uint32_t batch,
                         ggml_backend_sched_eval_callback on_node = nullptr, void* data = nullptr) const;

    // Throws Fault engine for an empty text or a token that the vocabulary does not have.
    void check(const std::vector<Tokens>& texts) const;

  private:
    ModelOwner model_;
    std::int32_t threads_;
};

// Evaluates `count` tokens from `first` on, at the end of the context's only sequence; logits of all or of the last.
// Throws Fault engine.
void evaluate(llama_context* context, Tokens& tokens, std::size_t first, std::size_t count, bool all_logits);

}  // namespace coder_lsp
