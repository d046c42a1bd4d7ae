#include "raw_peer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "faults.h"

namespace coder_lsp {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void run(llama_context* context, llama_token* tokens, std::int32_t count) {
    if (llama_decode(context, llama_batch_get_one(tokens, count)) != 0) {
        throw Fault(FaultKind::engine, "the raw llama.cpp loop failed");
    }
}

}  // namespace

RawPeer::RawPeer(std::shared_ptr<llama_model> model, std::uint32_t context_tokens, std::int32_t threads,
                 std::int32_t threads_batch)
    : model_(std::move(model)) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = context_tokens;
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = threads;
    params.n_threads_batch = threads_batch;
    context_.reset(llama_init_from_model(model_.get(), params));
    if (!context_) throw Fault(FaultKind::out_of_memory, "no memory for a second context");
}

double RawPeer::prefill(std::vector<llama_token> tokens) {
    llama_memory_clear(llama_get_memory(context_.get()), false);
    const Clock::time_point start = Clock::now();
    for (std::size_t done = 0; done < tokens.size();) {
        const std::size_t count = std::min<std::size_t>(512, tokens.size() - done);
        run(context_.get(), tokens.data() + done, static_cast<std::int32_t>(count));
        done += count;
    }
    llama_synchronize(context_.get());
    return ms_since(start);
}

RawPeer::Decoded RawPeer::decode(std::int32_t count) {
    Decoded decoded{};
    const std::int32_t vocab_size = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
    const Clock::time_point start = Clock::now();
    for (std::int32_t i = 0; i < count; ++i) {
        const float* scores = llama_get_logits_ith(context_.get(), -1);
        llama_token token = static_cast<llama_token>(std::max_element(scores, scores + vocab_size) - scores);
        decoded.tokens.push_back(token);
        if (i + 1 < count) run(context_.get(), &token, 1);
    }
    llama_synchronize(context_.get());
    decoded.milliseconds = ms_since(start);
    return decoded;
}

}  // namespace coder_lsp
